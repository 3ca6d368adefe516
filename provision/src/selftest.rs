//! The bundle's self-test, run as a child process: only the worker knows the inference libraries.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::home::{self, Home};

/// The program that runs self-tests.
pub const WORKER: &str = "rollcall-worker";
/// A self-test that takes longer than this hangs; a loaded machine with two cores needs 2 s.
const LIMIT: Duration = Duration::from_secs(120);
/// How often a running self-test is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// How much of what the worker says is kept, bytes.
const COMPLAINT_BYTES_MAX: u64 = 4_096;

/// Why there is no self-test.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The worker is not where it was looked for.
    #[error("`{WORKER}`, which runs the self-test, was not found")]
    NoWorker,
    /// The worker could not be started or read.
    #[error("cannot run `{}`", worker.display())]
    Start {
        /// Its path.
        worker: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The worker says no.
    #[error("the self-test failed: {complaint}")]
    Failed {
        /// The end of what it said.
        complaint: String,
    },
    /// The worker does not end.
    #[error("the self-test did not end within {} s", LIMIT.as_secs())]
    Hangs,
}

/// Finds the worker: `named` if given, else beside this program, else in `path` (the variable `PATH`).
///
/// # Errors
/// [`SelfTestError::NoWorker`].
pub fn find_worker(
    named: Option<&Path>,
    beside: Option<&Path>,
    path: &str,
) -> Result<PathBuf, SelfTestError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let in_path = std::env::split_paths(path).map(|folder| folder.join(WORKER));
    let candidates = beside.map(|program| program.with_file_name(WORKER)).into_iter().chain(in_path);
    candidates.into_iter().find(|candidate| candidate.is_file()).ok_or(SelfTestError::NoWorker)
}

/// Has the worker run the networks of the bundle in `folder` and write what they answer into its manifest.
///
/// # Errors
/// Any but [`SelfTestError::NoWorker`].
pub fn record(worker: &Path, home: &Home, folder: &Path) -> Result<(), SelfTestError> {
    run(worker, &["selftest", "--record"], home, folder)
}

/// Has the worker hold what the networks of the bundle in `folder` answer against what its manifest says.
///
/// # Errors
/// Any but [`SelfTestError::NoWorker`].
pub fn check(worker: &Path, home: &Home, folder: &Path) -> Result<(), SelfTestError> {
    run(worker, &["selftest"], home, folder)
}

fn run(worker: &Path, command: &[&str], home: &Home, folder: &Path) -> Result<(), SelfTestError> {
    let start = |source| SelfTestError::Start { worker: worker.to_owned(), source };
    let mut child = Command::new(worker)
        .args(command)
        .arg(folder)
        .env(home::VARIABLE, home.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let errors = child.stderr.take();
    let listener = std::thread::spawn(move || errors.map(complaint).unwrap_or_default());
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(start)? {
            Some(status) => break status,
            None if began.elapsed() > LIMIT => {
                // It may have ended just now, which is as good.
                _ = child.kill();
                _ = child.wait();
                return Err(SelfTestError::Hangs);
            }
            None => std::thread::sleep(GLANCE),
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = listener.join().unwrap_or_default();
    Err(SelfTestError::Failed { complaint: if said.is_empty() { status.to_string() } else { said } })
}

/// What a child says, on one line; the rest is read and dropped so that the child never waits for us.
fn complaint(mut errors: impl Read) -> String {
    let mut said = Vec::new();
    // An error means that the child is gone; what was read until then stands.
    _ = errors.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut said);
    _ = io::copy(&mut errors, &mut io::sink());
    let lines: Vec<_> = String::from_utf8_lossy(&said).lines().map(|line| line.trim().to_owned()).collect();
    lines.join("; ")
}
