//! The S3 server of this crate as a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::detached::{Detached, log_end};
use super::{ServerError, free_ports, io_error, listens, local, wait_until};

const NAME: &str = "s3";
const PATIENCE: Duration = Duration::from_secs(60);

/// An S3 server that runs in a folder.
#[derive(Debug)]
pub struct S3Process {
    folder: PathBuf,
    port: u16,
    process: Detached,
}

impl S3Process {
    /// The keys that it takes.
    pub const KEYS: (&'static str, &'static str) = ("rollcall-local", "rollcall-local-secret");

    /// Starts one on a free port; `program` is `rollcall-local`, and each of `buckets` is created.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(folder: &Path, program: &Path, buckets: &[&str]) -> Result<Self, ServerError> {
        let [port] = free_ports().map_err(io_error("127.0.0.1"))?;
        let data = folder.join(NAME);
        let mut command = Command::new(program);
        command.arg("s3").arg("--root").arg(&data).arg("--listen").arg(local(port).to_string());
        command.args(buckets.iter().flat_map(|bucket| ["--bucket", bucket]));
        command.env("ROLLCALL_LOCAL_S3_KEY", Self::KEYS.0).env("ROLLCALL_LOCAL_S3_SECRET", Self::KEYS.1);
        let process = Detached::spawn(folder, NAME, &command)?;
        let answered = wait_until(PATIENCE, || listens(local(port)) || !process.alive());
        if answered && process.alive() {
            return Ok(Self { folder: folder.to_owned(), port, process });
        }
        process.stop(folder, Duration::ZERO)?;
        Err(ServerError::NotStarted { name: NAME.to_owned(), log_end: log_end(folder, NAME) })
    }

    /// The address for `AWS_ENDPOINT_URL_S3`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Detached {
        &self.process
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it survives a kill.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.process.stop(&self.folder, PATIENCE)
    }
}
