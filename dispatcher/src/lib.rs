//! The command line of Rollcall.
//!
//! `cli` knows clap and nothing else; `settings` joins flags, environment and file; a command takes its settings as data
//! and gives its outcome as data; `output` alone writes to stdout and stderr. `program` puts them together.

pub mod cli;
pub mod command;
pub mod connect;
pub mod http;
pub mod janitor;
pub mod metrics;
pub mod outage;
pub mod output;
pub mod program;
pub mod relay;
pub mod rescue;
pub mod settings;
pub mod submit;
pub mod webhook;
pub mod wire;
