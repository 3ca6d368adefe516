//! `rollcall-local`: private servers on one machine, for the tests and for `deploy/local`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use tests::s3_server::{Bounds, Keys, S3Server};
use tests::servers::detached::Detached;
use tests::servers::{Fsync, Rabbit, RabbitOptions, Redis, S3Process, free_ports, local, wait_until};

#[derive(Parser)]
#[command(about = "Private servers on one machine, for tests and for deploy/local")]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Start servers, print `export` lines, and return.
    Start(Start),
    /// Start any command detached, remembered in a folder.
    Spawn(Spawn),
    /// Whether everything that a folder remembers is alive: exit 0, else 1.
    Status {
        /// Folder of the state.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Stop everything that a folder remembers, and remove the folder.
    Stop {
        /// Folder of the state.
        #[arg(long)]
        dir: PathBuf,
        /// Leave the folder.
        #[arg(long)]
        keep: bool,
    },
    /// Stop everything once a process has ended.
    Watch {
        /// Folder of the state.
        #[arg(long)]
        dir: PathBuf,
        /// The process.
        #[arg(long)]
        pid: i32,
    },
    /// Serve S3 from a folder, in the foreground.
    S3(S3),
    /// Print a port of the loopback interface that nobody listens at.
    FreePort {
        /// This one if it is free.
        #[arg(long)]
        prefer: Option<u16>,
    },
}

#[derive(Args)]
struct Start {
    /// Folder of the state.
    #[arg(long)]
    dir: PathBuf,
    /// Start Redis.
    #[arg(long)]
    redis: bool,
    /// Start RabbitMQ.
    #[arg(long)]
    amqp: bool,
    /// Start the S3 server with this bucket.
    #[arg(long, value_name = "BUCKET")]
    s3: Option<String>,
    /// Redis waits for the disk each second instead of before each answer.
    #[arg(long)]
    everysec: bool,
    /// RabbitMQ takes back what a consumer has held for so long.
    #[arg(long, value_name = "SECONDS")]
    consumer_timeout_s: Option<u64>,
    /// Stop everything once this process has ended.
    #[arg(long, value_name = "PID")]
    watch: Option<i32>,
}

#[derive(Args)]
struct Spawn {
    /// Folder of the state.
    #[arg(long)]
    dir: PathBuf,
    /// Name of the process; its output goes to NAME.log.
    #[arg(long)]
    name: String,
    /// Command and arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Args)]
struct S3 {
    /// Folder of the buckets.
    #[arg(long)]
    root: PathBuf,
    /// Address to listen at.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Buckets that exist.
    #[arg(long = "bucket")]
    buckets: Vec<String>,
    /// Access key.
    #[arg(long, env = "ROLLCALL_LOCAL_S3_KEY")]
    key: String,
    /// Secret key.
    #[arg(long, env = "ROLLCALL_LOCAL_S3_SECRET", hide_env_values = true)]
    secret: String,
    /// Share of the requests that go wrong: 503, delays, lost answers, cut bodies.
    #[arg(long, default_value_t = 0.0)]
    fault_rate: f64,
    /// Seed of what goes wrong.
    #[arg(long, default_value_t = 1)]
    fault_seed: u64,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Subcommands::Start(options) => start(&options),
        Subcommands::Spawn(options) => spawn(&options),
        Subcommands::Status { dir } => status(&dir),
        Subcommands::Stop { dir, keep } => stop(&dir, keep),
        Subcommands::Watch { dir, pid } => watch(&dir, pid),
        Subcommands::S3(options) => s3(&options),
        Subcommands::FreePort { prefer } => free_port(prefer),
    }
}

fn start(options: &Start) -> anyhow::Result<()> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the folder: {}", dir.display()))?;
    let dir = &dir.canonicalize()?;
    if let Some(pid) = options.watch {
        // First, so that a start that fails half-way leaves nothing behind either.
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("watch").arg("--dir").arg(dir).arg("--pid").arg(pid.to_string());
        Detached::spawn(dir, "watch", &command)?;
    }
    let mut exports = Vec::new();
    // The slow one beside the others.
    let rabbit = options.amqp.then(|| {
        let consumer_timeout = options.consumer_timeout_s.map(Duration::from_secs);
        let dir = dir.clone();
        std::thread::spawn(move || Rabbit::start(&dir, &RabbitOptions { consumer_timeout }))
    });
    if options.redis {
        let redis = Redis::start(dir, if options.everysec { Fsync::EverySecond } else { Fsync::Always })?;
        exports.push(("ROLLCALL_REDIS_URL", redis.url()));
    }
    if let Some(bucket) = &options.s3 {
        let s3 = S3Process::start(dir, &std::env::current_exe()?, &[bucket])?;
        exports.push(("AWS_ENDPOINT_URL_S3", s3.endpoint()));
        exports.push(("AWS_ACCESS_KEY_ID", S3Process::KEYS.0.to_owned()));
        exports.push(("AWS_SECRET_ACCESS_KEY", S3Process::KEYS.1.to_owned()));
        exports.push(("AWS_REGION", "us-east-1".to_owned()));
        exports.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
        exports.push(("ROLLCALL_STORE_URL", format!("s3://{bucket}")));
    }
    if let Some(rabbit) = rabbit {
        let started = rabbit.join().map_err(|_| anyhow::anyhow!("starting `rabbitmq` panicked"))?;
        exports.push(("ROLLCALL_AMQP_URL", started?.url()));
    }
    let mut out = std::io::stdout().lock();
    for (name, value) in exports {
        writeln!(out, "export {name}='{value}'")?;
    }
    Ok(())
}

fn spawn(options: &Spawn) -> anyhow::Result<()> {
    let [program, arguments @ ..] = options.command.as_slice() else {
        bail!("a command is needed");
    };
    let process = Detached::spawn(&options.dir, &options.name, Command::new(program).args(arguments))?;
    // A program that cannot start ends at once.
    if wait_until(Duration::from_millis(200), || !process.alive()) {
        bail!(
            "`{program}` ended at once; see {}",
            options.dir.join(format!("{}.log", options.name)).display()
        );
    }
    Ok(())
}

fn status(dir: &Path) -> anyhow::Result<()> {
    let all = Detached::all(dir);
    let dead: Vec<_> =
        all.iter().filter(|process| !process.alive()).map(|process| process.name.as_str()).collect();
    if all.is_empty() || !dead.is_empty() {
        bail!("not running: {}", if all.is_empty() { "anything".to_owned() } else { dead.join(", ") });
    }
    Ok(())
}

fn free_port(prefer: Option<u16>) -> anyhow::Result<()> {
    let preferred = prefer.filter(|port| std::net::TcpListener::bind(local(*port)).is_ok());
    let port = match preferred {
        Some(port) => port,
        None => free_ports::<1>()?[0],
    };
    writeln!(std::io::stdout(), "{port}")?;
    Ok(())
}

/// Those who use the servers first, then the servers.
const LAST: [&str; 4] = ["s3", "rabbitmq", "redis", "rabbitmq-epmd"];
/// A worker may finish what it holds: its grace is 60 s.
const PATIENCE: Duration = Duration::from_secs(70);

fn stop(dir: &Path, keep: bool) -> anyhow::Result<()> {
    if dir.exists() && !dir.join("run").exists() {
        bail!("not a folder that `rollcall-local` made: {}", dir.display());
    }
    let all = Detached::all(dir);
    let (servers, users): (Vec<_>, Vec<_>) = all
        .into_iter()
        .filter(|process| process.name != "watch")
        .partition(|p| LAST.contains(&p.name.as_str()));
    // All at once, then each is waited for.
    users.iter().for_each(|process| process.signal(rustix::process::Signal::TERM));
    let mut failed = Vec::new();
    for process in users.iter().chain(LAST.iter().filter_map(|name| servers.iter().find(|p| p.name == *name)))
    {
        failed.extend(process.stop(dir, PATIENCE).err());
    }
    if let Some(error) = failed.pop() {
        return Err(error.into());
    }
    if !keep {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove the folder: {}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn watch(dir: &Path, pid: i32) -> anyhow::Result<()> {
    let exists = || Path::new(&format!("/proc/{pid}")).exists();
    // Without a bound: as long as the watched process lives.
    while exists() && dir.exists() {
        std::thread::sleep(Duration::from_millis(500));
    }
    stop(dir, false)
}

#[tokio::main]
async fn s3(options: &S3) -> anyhow::Result<()> {
    for bucket in &options.buckets {
        std::fs::create_dir_all(options.root.join(bucket))?;
    }
    let keys = Keys { access: options.key.clone(), secret: options.secret.clone() };
    let server = S3Server::start(&options.root, options.listen, keys, Bounds::default())
        .await
        .with_context(|| format!("cannot serve S3 at {}", options.listen))?;
    server.faults().at_random(options.fault_rate, options.fault_seed);
    writeln!(std::io::stdout(), "{}", server.endpoint())?;
    server.run().await;
    Ok(())
}
