//! The command line of Rollcall.
//!
//! `cli` knows clap and nothing else; a command takes its settings as data and gives its outcome as data; `output`
//! alone writes to stdout and stderr.

pub mod cli;
pub mod command;
pub mod output;
