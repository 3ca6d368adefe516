//! From a parsed command line to an exit code: settings, services, command, output.

mod jobs;
mod service;
mod speakers;
mod submitting;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, CommandFactory as _};
use common::clock::{Clock as _, SystemClock, Timestamp};
use common::port::job_store::JobStore as _;
use common::telemetry::logs::{self, LogError, LogPlan};
use common::telemetry::traces;
use tokio::runtime::{Builder, Runtime};

use crate::cli::{Cli, Command, ConfigCommand, QueueArguments};
use crate::command::error::FleetError;
use crate::command::{ExitStatus, Explain, score};
use crate::settings::Settings;
use crate::settings::show::shown;
use crate::{connect, output};

/// Longest time for the last spans of a trace: what a dead collector may cost a command.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// How a command ended: with a code, or with an error that is still to be shown.
type Ended = Result<ExitStatus, Box<dyn Explain>>;

impl<E: Explain + 'static> From<E> for Box<dyn Explain> {
    fn from(error: E) -> Self {
        Box::<E>::new(error)
    }
}

/// Runs a command.
#[must_use]
pub fn run(cli: Cli, matches: &ArgMatches) -> ExitCode {
    let ended = match cli.command {
        Command::Score(arguments) => scored(arguments),
        Command::Completions { shell } => Ok(completions(shell)),
        Command::Man => Ok(output::status(manual())),
        other => Settings::read(matches)
            .map_err(|error| FleetError::from(error).into())
            .and_then(|settings| with_settings(other, &settings)),
    };
    let status = ended.unwrap_or_else(|error| output::failure(&*error));
    status.into()
}

fn scored(arguments: crate::cli::ScoreArguments) -> Ended {
    let json = arguments.json;
    let report = score::run(&arguments.into())?;
    Ok(output::status(output::score::score(&report, json)))
}

fn completions(shell: clap_complete::Shell) -> ExitStatus {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rollcall", &mut text);
    output::status(output::print_bytes(&text))
}

fn manual() -> io::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    output::print_bytes(&text)
}

fn with_settings(command: Command, settings: &Settings) -> Ended {
    let serves = matches!(command, Command::Serve(_));
    start_logging(settings, serves, serves || matches!(command, Command::Submit(_)))?;
    // Reading files, hashing and answering HTTP keep several threads busy; everything else waits on one connection.
    let busy = matches!(command, Command::Submit(_) | Command::Speakers(_) | Command::Serve(_));
    let runtime = runtime(busy);
    runtime.block_on(async {
        let carried = traces::carry();
        let ended = match command {
            Command::Submit(arguments) => submitting::submit(*arguments, settings).await,
            Command::Status(arguments) => jobs::status(&arguments, settings).await,
            Command::List(arguments) => jobs::list(arguments, settings).await,
            Command::Watch(arguments) => jobs::watch(&arguments, settings).await,
            Command::Wait(arguments) => jobs::wait(&arguments, settings).await,
            Command::Result(arguments) => jobs::result(&arguments, settings).await,
            Command::Cancel(arguments) => jobs::cancel(&arguments, settings).await,
            Command::Retry(arguments) => jobs::retry(&arguments, settings).await,
            Command::Dead(command) => jobs::dead(command, settings).await,
            Command::Speakers(command) => speakers::speakers(command, settings).await,
            Command::Queue(arguments) => queue(&arguments, settings).await,
            Command::Workers(arguments) => workers(arguments.json, settings).await,
            Command::Serve(arguments) => service::serve(&arguments, settings).await,
            Command::Keys(command) => service::keys(command, settings).await,
            Command::Webhooks(command) => service::webhooks(command, settings).await,
            Command::Config(ConfigCommand::Show(arguments)) => {
                let all = shown(settings, &|name| std::env::var(name).ok());
                Ok(output::status(output::print(&output::settings(&all, arguments.json))))
            }
            Command::Score(_) | Command::Completions { .. } | Command::Man => Ok(ExitStatus::Done),
        };
        if let Some(carried) = carried {
            carried.flush(LAST_SPANS).await;
        }
        ended
    })
}

fn runtime(busy: bool) -> Runtime {
    let mut builder = if busy { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build().expect("the operating system gives a process its threads and timers")
}

/// `serve` logs unless told otherwise; everything else says what is to be said by itself. Traces are kept where they begin.
fn start_logging(settings: &Settings, serves: bool, traced: bool) -> Result<(), FleetError> {
    let beside = traced.then(|| traces::start("rollcall")).flatten();
    let wanted = settings.log.value.as_deref().or(serves.then_some("info"));
    let wrong = |setting, value, hint: &str| FleetError::Setting { setting, value, hint: hint.to_owned() };
    let no_format = |format| wrong("log_format", format, "`text` or `json`");
    if !logs::FORMATS.contains(&settings.log_format.value.as_str()) {
        return Err(no_format(settings.log_format.value.clone()));
    }
    if wanted.is_none() && beside.is_none() {
        return Ok(());
    }
    let plan = LogPlan {
        filter: wanted.unwrap_or("off"),
        // The queue's client logs each lost connection by itself, at length; the loops here say it once.
        quiet: "lapin=off",
        format: &settings.log_format.value,
        colour: output::is_watched(),
    };
    logs::start(plan, beside).or_else(|error| match error {
        LogError::Filter { filter } => {
            Err(wrong("log", filter, "a tracing filter, such as `info` or `dispatcher=debug`"))
        }
        LogError::Format { format } => Err(no_format(format)),
        LogError::Started => Ok(()),
    })
}

/// The present, for showing how long ago something was.
fn now() -> Timestamp {
    SystemClock::new().now()
}

async fn queue(arguments: &QueueArguments, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    let text = |status: &_| {
        if arguments.json { output::fleet::queue_json(status) } else { output::fleet::queue(status) }
    };
    let first = store.status().await.map_err(FleetError::from)?;
    if !arguments.watch {
        return Ok(output::status(output::print(&text(&first))));
    }
    let mut screen = output::screen::Screen::new(arguments.json);
    let mut status = first;
    loop {
        if let Err(error) = screen.show(&text(&status)) {
            return Ok(output::status(Err(error)));
        }
        tokio::time::sleep(arguments.every.max(Duration::from_millis(100))).await;
        status = store.status().await.map_err(FleetError::from)?;
    }
}

async fn workers(json: bool, settings: &Settings) -> Ended {
    let store = connect::job_store(settings)?;
    let alive = store.workers().await.map_err(FleetError::from)?;
    if json {
        return Ok(output::status(output::print(&output::fleet::workers_json(&alive))));
    }
    if alive.is_empty() {
        output::note("no worker is alive; `rollcall-worker serve` starts one");
    }
    Ok(output::status(output::print(&output::fleet::workers(&alive, output::width()))))
}
