//! The commands about jobs, the queue and the fleet.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use common::job::id::JobId;
use common::job::record::JobState;

use super::submit::{FormatFlag, tag};
use super::{JsonArguments, duration};

/// Most jobs that `list` prints unless told otherwise.
const LIST_DEFAULT: u16 = 20;

/// `rollcall status`
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<JobId>,
    /// Print each record as a JSON line
    #[arg(long)]
    pub json: bool,
}

/// Commands that take jobs.
#[derive(Debug, Args)]
pub struct JobsArguments {
    /// Jobs
    #[arg(required = true, value_name = "JOB")]
    pub jobs: Vec<JobId>,
    /// Print the record of each job as a JSON line
    #[arg(long)]
    pub json: bool,
}

/// `rollcall list`
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub state: Option<JobState>,
    /// Only jobs with this tag
    #[arg(long, value_name = "K=V", value_parser = tag)]
    pub tag: Option<(String, String)>,
    /// At most so many, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = LIST_DEFAULT, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
    /// Print a JSON array of records
    #[arg(long)]
    pub json: bool,
}

/// `rollcall result`
#[derive(Debug, Args)]
pub struct ResultArguments {
    /// The job
    #[arg(value_name = "JOB")]
    pub job: JobId,
    /// Which document
    #[arg(long, value_name = "F", default_value = "json")]
    pub format: FormatFlag,
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `rollcall queue`
#[derive(Debug, Args)]
pub struct QueueArguments {
    /// Go on until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse, requires = "watch")]
    pub every: Duration,
    /// Print JSON, one line a look
    #[arg(long)]
    pub json: bool,
}

/// `rollcall dead ...`
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters, the newest first
    List(DeadListArguments),
    /// Show why jobs failed
    Show(JobsArguments),
    /// Try dead letters again
    Requeue(DeadJobsArguments),
    /// Forget dead letters for good
    Purge(DeadJobsArguments),
}

/// `rollcall dead list`
#[derive(Debug, Args)]
pub struct DeadListArguments {
    /// At most so many, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = LIST_DEFAULT, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
    /// Print as JSON
    #[command(flatten)]
    pub json: JsonArguments,
}

/// `rollcall dead requeue|purge`
#[derive(Debug, Args)]
pub struct DeadJobsArguments {
    /// Jobs
    #[arg(value_name = "JOB", required_unless_present = "all", conflicts_with = "all")]
    pub jobs: Vec<JobId>,
    /// Every dead letter, up to 10000
    #[arg(long)]
    pub all: bool,
    /// Print as JSON
    #[command(flatten)]
    pub json: JsonArguments,
}

fn state(text: &str) -> Result<JobState, String> {
    JobState::parse(text).ok_or_else(|| {
        let states: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        format!("a state is one of {}", states.join(", "))
    })
}
