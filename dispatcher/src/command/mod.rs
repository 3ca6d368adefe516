//! What each command does: settings in, outcome out, nothing printed.

pub mod dead;
pub mod error;
pub mod follow;
pub mod jobs;
pub mod keys;
pub mod result;
pub mod score;
pub mod serve;
pub mod speakers;

/// How a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done.
    Done = 0,
    /// The request or a job failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// A service cannot be reached.
    Unreachable = 3,
}

impl From<ExitStatus> for std::process::ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// An error that a command ends with: what failed is its message, why is its chain of sources, what to try are hints.
pub trait Explain: std::error::Error {
    /// The exit code that it means.
    fn status(&self) -> ExitStatus;
    /// Sentences saying what to try, most likely first.
    fn hints(&self) -> Vec<String>;
}
