//! The servers and processes of a run.

use std::path::PathBuf;
use std::process::Command;

use tests::fleet::{Deployment, Process, program};
use tests::servers::{Fsync, Rabbit, RabbitOptions, Redis, S3Process, ScopedFolder};

/// What to start.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    pub amqp: bool,
    pub fsync: Fsync,
    pub s3: bool,
    /// Short waits for bells, exports and sweeping.
    pub quick: bool,
    pub workers: usize,
    pub worker_flags: Vec<String>,
    pub rabbit: RabbitOptions,
    pub log: &'static str,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            amqp: true,
            fsync: Fsync::Always,
            s3: false,
            quick: true,
            workers: 2,
            worker_flags: Vec::new(),
            rabbit: RabbitOptions::default(),
            log: "info",
        }
    }
}

/// Everything that runs.
pub struct World {
    pub workers: Vec<Process>,
    pub steward: Option<Process>,
    pub redis: Redis,
    pub rabbit: Option<Rabbit>,
    pub deployment: Deployment,
    options: WorldOptions,
    environment: Vec<(&'static str, String)>,
    started: usize,
    folder: ScopedFolder,
}

impl World {
    /// Starts servers, workers and a steward.
    pub async fn start(options: &WorldOptions) -> Self {
        let folder = ScopedFolder::new().unwrap();
        let redis = Redis::start(folder.path(), options.fsync).unwrap();
        let rabbit = options.amqp.then(|| Rabbit::start(folder.path(), &options.rabbit).unwrap());
        let mut environment = Vec::new();
        let store_url = if options.s3 {
            let program = program("rollcall-local").expect("built beside this program");
            let s3 = S3Process::start(folder.path(), &program, &["rollcall"]).unwrap();
            environment = vec![
                ("AWS_ENDPOINT_URL_S3", s3.endpoint()),
                ("AWS_ACCESS_KEY_ID", S3Process::KEYS.0.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", S3Process::KEYS.1.to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
            ];
            "s3://rollcall".to_owned()
        } else {
            format!("file://{}", folder.path().join("store").display())
        };
        let queue_url = rabbit.as_ref().map_or_else(|| redis.url(), Rabbit::url);
        let deployment = Deployment {
            redis_url: redis.url(),
            queue_url,
            store_url,
            namespace: "rollcall".to_owned(),
            quick: options.quick,
        };
        let options = options.clone();
        let mut world = Self {
            workers: Vec::new(),
            steward: None,
            redis,
            rabbit,
            deployment,
            options,
            environment,
            started: 0,
            folder,
        };
        world.workers = (0..world.options.workers).map(|_| world.worker()).collect();
        world.steward = Some(world.steward());
        world
    }

    /// A new worker process.
    pub fn worker(&mut self) -> Process {
        self.started += 1;
        let (name, flags) = (format!("worker-{}", self.started), self.options.worker_flags.clone());
        self.process(&name, &flags)
    }

    /// A new process that only relays and rescues.
    pub fn steward(&mut self) -> Process {
        self.started += 1;
        self.process(&format!("steward-{}", self.started), &["--steward".to_owned()])
    }

    fn process(&self, name: &str, flags: &[String]) -> Process {
        let program = program("rollcall-noop-worker").expect("built beside this program");
        let mut command = Command::new(program);
        command.args(self.deployment.flags()).arg("--scratch").arg(self.folder.path()).args(flags);
        command.envs(self.environment.iter().cloned()).env("ROLLCALL_LOG", self.options.log);
        Process::start(self.folder.path(), name, &mut command)
    }

    /// Every process that died lives again.
    pub fn revive(&mut self) {
        for index in 0..self.workers.len() {
            if !self.workers[index].alive() {
                self.workers[index] = self.worker();
            }
        }
        if self.steward.as_mut().is_none_or(|steward| !steward.alive()) {
            self.steward = Some(self.steward());
        }
    }

    /// What all processes said, life after life.
    pub fn logs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let logs = entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("worker-") && name.ends_with(".log")
        });
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// Copies the logs to where they outlive this run.
    pub fn keep_logs(&self) -> PathBuf {
        let kept = std::env::temp_dir().join(format!("rollcall-chaos-{}", std::process::id()));
        std::fs::create_dir_all(&kept).unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|end| end == "log") {
                std::fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
            }
        }
        kept
    }
}
