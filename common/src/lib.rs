//! The words that Rollcall's programs share, and the ports between them.
//!
//! A thing is admitted here when at least two of the programs compile against it, it is named by a noun of the
//! glossary (`ARCHITECTURE.md`), and its documentation states an invariant. With default features off this crate
//! knows no network, no async runtime and no inference library; `tests/run.sh` proves it.

pub mod adapter;
pub mod clock;
pub mod config;
pub mod environment;
pub mod fleet;
pub mod home;
pub mod job;
pub mod model;
pub mod object_key;
pub mod port;
pub mod random;
pub mod reach;
pub mod scaling;
pub mod speech;
pub mod telemetry;
