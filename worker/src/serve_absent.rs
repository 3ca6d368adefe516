//! `serve` in a program that was built without the fleet: says so.

use common::config::Settings;
use common::home::Home;
use common::telemetry::logs::Beside;

use crate::cli::ServeArgs;
use crate::workbench::Workbench;

/// Why a worker cannot join the fleet.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The program has no fleet in it.
    #[error("this `rollcall-worker` was built without the fleet")]
    Absent,
}

impl ServeError {
    /// What to try, one line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        vec!["build it with `cargo build --release -p worker`".to_owned()]
    }

    /// The program's exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// Nothing hears of spans.
#[must_use]
pub fn traces() -> Option<Beside> {
    None
}

/// Says that there is no fleet in this program.
///
/// # Errors
/// Always.
pub fn serve<E>(
    _: ServeArgs,
    _: &Settings,
    _: &Home,
    _: impl FnOnce() -> Result<Workbench, E>,
) -> Result<Result<bool, ServeError>, E> {
    Ok(Err(ServeError::Absent))
}
