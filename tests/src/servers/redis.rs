//! A private Redis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::detached::{Detached, log_end};
use super::{ServerError, free_ports, io_error, listens, local, wait_until};

const NAME: &str = "redis";
const PATIENCE: Duration = Duration::from_secs(60);

/// When Redis waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before each answer: nothing that was answered is lost.
    Always,
    /// Each second.
    EverySecond,
}

impl Fsync {
    fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
        }
    }
}

/// A Redis that runs, or ran, in a folder.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    port: u16,
    fsync: Fsync,
    process: Detached,
}

impl Redis {
    /// Starts one on a free port; its files lie in `folder`.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(folder: &Path, fsync: Fsync) -> Result<Self, ServerError> {
        let mut last = None;
        // Another process may take the port in between.
        for _ in 0..3 {
            let [port] = free_ports().map_err(io_error("127.0.0.1"))?;
            match Self::start_at(folder, fsync, port) {
                Err(error @ ServerError::NotStarted { .. }) => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| ServerError::NotStarted { name: NAME.to_owned(), log_end: String::new() }))
    }

    fn start_at(folder: &Path, fsync: Fsync, port: u16) -> Result<Self, ServerError> {
        let data = folder.join(NAME);
        fs::create_dir_all(&data).map_err(io_error(&data))?;
        if Command::new("redis-server").arg("--version").output().is_err() {
            let (program, package) = ("redis-server".to_owned(), "redis-server".to_owned());
            return Err(ServerError::Missing { program, package });
        }
        let config = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\ndaemonize no\nsave \"\"\nappendonly yes\nappendfsync {}\n",
            data.display(),
            fsync.word()
        );
        let path = data.join("redis.conf");
        fs::write(&path, config).map_err(io_error(&path))?;
        let process = Detached::spawn(folder, NAME, Command::new("redis-server").arg(&path))?;
        let answered = wait_until(PATIENCE, || listens(local(port)) || !process.alive());
        if answered && process.alive() {
            return Ok(Self { folder: folder.to_owned(), port, fsync, process });
        }
        process.stop(folder, Duration::ZERO)?;
        Err(ServerError::NotStarted { name: NAME.to_owned(), log_end: log_end(folder, NAME) })
    }

    /// `redis://…`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
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
        wait_until(PATIENCE, || !self.process.alive());
        *self = Self::start_at(&self.folder, self.fsync, self.port)?;
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it survives a kill.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.process.stop(&self.folder, PATIENCE)
    }
}
