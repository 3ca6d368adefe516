//! `rollcall`.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use common::environment;
use dispatcher::cli::Cli;
use dispatcher::program;

fn main() -> ExitCode {
    // What cannot be put in order is refused where it is read.
    let _ = environment::settle(&[]);
    let matches = Cli::command().get_matches();
    // What was parsed by the same definition has its shape.
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => program::run(cli, &matches),
        Err(error) => error.exit(),
    }
}
