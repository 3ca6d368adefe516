//! Stands for what works with a store in builds without the feature `store`.

use common::config::Settings;
use common::home::Home;

use crate::cli::StockCommand;
use crate::failure::{Failure, Stock, StockFailure};
use crate::output::Steps;
use crate::runtime::Kind;

/// This build has no network.
#[derive(Debug, thiserror::Error)]
#[error("this build of `rollcall-provision` does not work with stores")]
pub struct Absent;

impl StockFailure for Absent {
    fn exit_code(&self) -> u8 {
        2
    }

    fn hints(&self) -> Vec<String> {
        vec!["build it with `cargo build --release -p provision`".to_owned()]
    }
}

/// Refuses.
///
/// # Errors
/// Always [`Absent`].
pub fn run(_: StockCommand, _: &Home, _: &Settings, _: &Steps) -> Result<(), Failure> {
    Err(Failure::Stock(Stock(Box::new(Absent))))
}

/// Refuses.
///
/// # Errors
/// Always [`Absent`].
pub fn install_runtime(_store: &str, _: &Home, _: Kind, _: &Steps) -> Result<(), Failure> {
    Err(Failure::Stock(Stock(Box::new(Absent))))
}

/// Refuses.
///
/// # Errors
/// Always [`Absent`].
pub fn list(_store: &str, _json: bool) -> Result<(), Failure> {
    Err(Failure::Stock(Stock(Box::new(Absent))))
}
