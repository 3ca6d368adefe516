//! A fleet's servers for one test, and the program run against them.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use common::adapter::queue::QueueBroker;
use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::adapter::s3::{S3Access, S3Options, S3Store};
use common::port::job_store::StoreRules;
use rustix::process::{Pid, Signal, kill_process};
use tests::s3_server::{Bounds, Keys, S3Server};
use tests::servers::{Fsync, Redis, ScopedFolder, local, shared};

/// How long one run of the program may take: far above what any needs, so that what waits for ever is a failure.
const PROGRAM_MOST: Duration = Duration::from_secs(60);

/// Which queue a test uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    Redis,
    Amqp,
}

/// Servers of one test. The Redis is its own; so are the queues, since only one test at a time uses the RabbitMQ's.
pub struct Fleet {
    pub folder: ScopedFolder,
    pub redis: Redis,
    pub s3: S3Server,
    pub queue_url: String,
    variables: Vec<(String, String)>,
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its stdout, after checking that all went well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// Its stdout as JSON, after checking that all went well.
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// An object that the S3 server finds in its folder: only its description, so that it may claim any size.
fn claims_to_be_there(bucket: &Path, key: &str, bytes: u64) {
    let description = serde_json::json!({
        "key": key, "blob": "none", "bytes": bytes, "etag": "e", "content_type": null, "crc32": null,
        "modified": {"secs_since_epoch": 1_700_000_000, "nanos_since_epoch": 0},
    });
    std::fs::write(bucket.join(format!("{}.json", key.replace('/', "-"))), description.to_string()).unwrap();
}

impl Fleet {
    pub async fn new(queue: Queue) -> Self {
        let folder = ScopedFolder::new().unwrap();
        let redis = Redis::start(folder.path(), Fsync::EverySecond).unwrap();
        let buckets = folder.path().join("buckets");
        for bucket in ["bucket", "other"] {
            std::fs::create_dir_all(buckets.join(bucket)).unwrap();
        }
        claims_to_be_there(&buckets.join("bucket"), "huge.wav", 9 << 30);
        let keys = Keys { access: "key".to_owned(), secret: "secret".to_owned() };
        let s3 = S3Server::start(&buckets, local(0), keys, Bounds::default()).await.unwrap();
        let queue_url = match queue {
            Queue::Redis => redis.url(),
            Queue::Amqp => shared().amqp_url.clone(),
        };
        let variables = [
            ("ROLLCALL_REDIS_URL", redis.url()),
            ("ROLLCALL_QUEUE_URL", queue_url.clone()),
            ("ROLLCALL_STORE_URL", "s3://bucket/fleet".to_owned()),
            ("AWS_ENDPOINT_URL_S3", s3.endpoint()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self { folder, redis, s3, queue_url, variables }
    }

    pub fn jobs(&self) -> RedisJobStore {
        RedisJobStore::new(RedisOptions::new(&self.redis.url()), &StoreRules::default()).unwrap()
    }

    pub fn broker(&self) -> QueueBroker {
        QueueBroker::new(&self.queue_url).unwrap()
    }

    pub async fn objects(&self) -> S3Store {
        let keys = Some(("key".to_owned(), "secret".to_owned()));
        let access =
            S3Access { endpoint: Some(self.s3.endpoint()), keys, region: Some("us-east-1".to_owned()) };
        S3Store::connect("s3://bucket/fleet".parse().unwrap(), &access, S3Options::default()).await
    }

    /// A file in the folder in which the program runs.
    pub fn file(&self, name: &str, content: &str) {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The program, with nothing of the tests' own environment but this fleet.
    pub fn command(&self, arguments: &str) -> Command {
        std::fs::create_dir_all(self.work()).unwrap();
        let mut command = Command::new(program());
        command.args(arguments.split_whitespace()).current_dir(self.work()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub async fn run(&self, arguments: &str) -> Ran {
        self.run_with(arguments, &[], "").await
    }

    /// Runs it with further variables and text on stdin. Elsewhere than on the test's own thread, which may be the one
    /// that its S3 server needs.
    pub async fn run_with(&self, arguments: &str, variables: &[(&str, &str)], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let stdin = stdin.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // A program that does not read its stdin may be gone by now.
            let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
            let pid = Pid::from_child(&child);
            let (ended, watch) = mpsc::channel::<()>();
            let watchdog = std::thread::spawn(move || {
                let late = watch.recv_timeout(PROGRAM_MOST) == Err(mpsc::RecvTimeoutError::Timeout);
                if late {
                    kill_process(pid, Signal::KILL).unwrap();
                }
                late
            });
            let output = child.wait_with_output().unwrap();
            drop(ended);
            (output, watchdog.join().unwrap())
        });
        let (Output { status, stdout, stderr }, late) = output.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(!late, "`rollcall {arguments}` did not end: {}{}", text(stdout), text(stderr));
        Ran { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// The same text in every run: ports, ids and lengths of time are replaced.
    pub fn plain(&self, text: &str) -> String {
        let mut text = text.replace(&format!("127.0.0.1:{}", self.redis.port()), "REDIS");
        text = text.replace(&self.s3.address().to_string(), "S3");
        let words = text.split_inclusive(|c: char| c.is_whitespace() || "`\",.:/()".contains(c));
        words
            .map(|word| if is_id(word) { word.replace(&word[..36], "JOB") } else { word.to_owned() })
            .collect()
    }

    /// Sets a password on the Redis.
    pub fn lock_redis(&self) {
        self.redis_command("CONFIG SET requirepass sesame", "+OK");
    }

    /// Says this to the Redis, without a client library; the answer has to be this line.
    pub fn redis_command(&self, command: &str, expected: &str) {
        let mut connection = TcpStream::connect(local(self.redis.port())).unwrap();
        connection.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let expected = format!("{expected}\r\n");
        let mut answer = vec![0; expected.len()];
        std::io::Read::read_exact(&mut connection, &mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }

    /// Whether any file of this fleet, the Redis' own log of every change among them, holds a text.
    pub fn files_hold(&self, text: &str) -> bool {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path)
                    .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
                {
                    return true;
                }
            }
        }
        false
    }
}

fn is_id(word: &str) -> bool {
    let id = word.get(..36).unwrap_or_default();
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `rollcall`, which a build of the workspace puts beside the folder of the tests.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors()
        .map(|folder| folder.join("rollcall"))
        .find(|path| path.is_file())
        .expect("`cargo build --workspace --bins` makes `rollcall` before these tests run")
}
