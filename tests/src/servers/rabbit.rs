//! A private RabbitMQ with a name server (epmd) of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::detached::{Detached, log_end};
use super::{ServerError, free_ports, io_error, listens, local, wait_until};

const NAME: &str = "rabbitmq";
const EPMD: &str = "rabbitmq-epmd";
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Starting takes 3 to 16 s on two busy cores, stopping 6.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);

/// What differs from the usual.
#[derive(Debug, Clone, Default)]
pub struct RabbitOptions {
    /// How long a consumer may hold a delivery; the server's default is 30 minutes.
    pub consumer_timeout: Option<Duration>,
}

/// A RabbitMQ that runs, or ran, in a folder.
#[derive(Debug)]
pub struct Rabbit {
    folder: PathBuf,
    ports: [u16; 3],
    process: Detached,
}

impl Rabbit {
    /// Starts one on free ports; its files lie in `folder`.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(folder: &Path, options: &RabbitOptions) -> Result<Self, ServerError> {
        if !Path::new(PROGRAM).exists() {
            let (program, package) = ("rabbitmq-server".to_owned(), "rabbitmq-server".to_owned());
            return Err(ServerError::Missing { program, package });
        }
        let ports = free_ports().map_err(io_error("127.0.0.1"))?;
        let data = folder.join(NAME);
        for part in ["mnesia", "log", "home"] {
            fs::create_dir_all(data.join(part)).map_err(io_error(data.join(part)))?;
        }
        let timeout = options.consumer_timeout.map_or(1_800_000, |timeout| timeout.as_millis());
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nloopback_users = none\nlog.console = true\nlog.console.level = warning\n\
             log.file = false\nvm_memory_high_watermark.absolute = 512MiB\ndisk_free_limit.absolute = 50MB\n\
             consumer_timeout = {timeout}\n",
            ports[0]
        );
        fs::write(data.join("rabbitmq.conf"), config).map_err(io_error(&data))?;
        fs::write(data.join("enabled_plugins"), "[].\n").map_err(io_error(&data))?;
        Self::launch(folder, ports)
    }

    fn launch(folder: &Path, ports: [u16; 3]) -> Result<Self, ServerError> {
        let data = folder.join(NAME);
        let pid_file = data.join("pid");
        // Left by a server that was killed.
        let _ = fs::remove_file(&pid_file);
        let [amqp, dist, epmd] = ports;
        let mut name_server = Command::new("epmd");
        name_server.args(["-port", &epmd.to_string(), "-address", "127.0.0.1"]);
        if !listens(local(epmd)) {
            Detached::spawn(folder, EPMD, &name_server)?;
            wait_until(START, || listens(local(epmd)));
        }
        let mut command = Command::new(PROGRAM);
        command
            .env("HOME", data.join("home"))
            .env("RABBITMQ_NODENAME", format!("rollcall{amqp}@localhost"))
            .env("RABBITMQ_NODE_PORT", amqp.to_string())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_DIST_PORT", dist.to_string())
            .env("ERL_EPMD_PORT", epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", data.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", data.join("log"))
            .env("RABBITMQ_PID_FILE", &pid_file)
            .env("RABBITMQ_CONFIG_FILE", data.join("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", data.join("enabled_plugins"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!("-kernel inet_dist_use_interface {{127,0,0,1}} +S 2:2 -setcookie rollcall{amqp}"),
            );
        let starter = Detached::spawn(folder, NAME, &command)?;
        // The port listens before the boot is over; the virtual host is there when the queues can be declared.
        let started = wait_until(START, || (pid_file.exists() && listens(local(amqp))) || !starter.alive());
        let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok());
        match pid {
            Some(pid) if started && starter.alive() => {
                // The shell that was started only waits for the Erlang process, which is the one to signal.
                let process = Detached::adopt(folder, NAME, pid)?;
                Ok(Self { folder: folder.to_owned(), ports, process })
            }
            _ => {
                starter.stop(folder, STOP)?;
                Err(ServerError::NotStarted { name: NAME.to_owned(), log_end: log_end(folder, NAME) })
            }
        }
    }

    /// `amqp://…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports[0])
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Its Erlang process.
    #[must_use]
    pub fn process(&self) -> &Detached {
        &self.process
    }

    /// Kills it at once, as a crash would, and starts it again with its data.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn crash_and_restart(&mut self) -> Result<(), ServerError> {
        self.process.signal(Signal::KILL);
        wait_until(STOP, || !self.process.alive() && !listens(local(self.ports[0])));
        *self = Self::launch(&self.folder, self.ports)?;
        Ok(())
    }

    /// Ends it and its name server.
    ///
    /// # Errors
    /// When one of them survives a kill.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.process.stop(&self.folder, STOP)?;
        for process in Detached::all(&self.folder).iter().filter(|process| process.name == EPMD) {
            process.stop(&self.folder, STOP)?;
        }
        Ok(())
    }
}
