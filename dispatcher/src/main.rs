//! `rollcall`.

use std::process::ExitCode;

use clap::Parser as _;
use dispatcher::cli::{Cli, Command};
use dispatcher::command::score;
use dispatcher::output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Score(arguments) => {
            let json = arguments.json;
            score::run(&arguments.into()).map(|report| output::score(&report, json))
        }
    };
    match done {
        Ok(written) => output::status(written).into(),
        Err(error) => output::failure(&error).into(),
    }
}
