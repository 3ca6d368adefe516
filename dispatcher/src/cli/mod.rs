//! The commands and flags of `rollcall`; clap only.

pub mod duration;
pub mod fleet;
pub mod score;
pub mod service;
pub mod speakers;
pub mod submit;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use fleet::{
    DeadCommand, JobsArguments, ListArguments, QueueArguments, ResultArguments, StatusArguments,
};
pub use score::ScoreArguments;
pub use service::{KeysCommand, ServeArguments, WebhooksCommand};
pub use speakers::SpeakersCommand;
pub use submit::SubmitArguments;

/// Who spoke when: submit, follow and read diarization jobs, watch the queue, score.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, about, max_term_width = 100)]
pub struct Cli {
    /// Where the fleet is.
    #[command(flatten)]
    pub fleet: FleetFlags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes. Their values are read with their origin, by name, in `settings`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where the fleet is")]
pub struct FleetFlags {
    /// File of settings; flags and the environment overrule it
    #[arg(long, global = true, env = common::config::VARIABLE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Job records [default: redis://127.0.0.1:6379]
    #[arg(long, global = true, env = "ROLLCALL_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Delivery: amqp(s):// or redis(s):// [default: the Redis URL]
    #[arg(long, global = true, env = "ROLLCALL_QUEUE_URL", value_name = "URL", hide_env_values = true)]
    pub queue_url: Option<String>,
    /// Audio and results: s3://BUCKET[/PREFIX] or file:///FOLDER
    #[arg(long, global = true, env = "ROLLCALL_STORE_URL", value_name = "URL")]
    pub store_url: Option<String>,
    /// Prefixes outside the store that jobs may name, separated by commas
    #[arg(long, global = true, env = "ROLLCALL_ALLOW", value_name = "PREFIXES")]
    pub allow: Option<String>,
    /// What to log, as a tracing filter [default: info for `serve`, nothing elsewhere]
    #[arg(long, global = true, env = "ROLLCALL_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log: `text` or `json` [default: text]
    #[arg(long, global = true, env = "ROLLCALL_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit recordings; prints the id of each job
    Submit(Box<SubmitArguments>),
    /// Show the records of jobs
    Status(StatusArguments),
    /// List the newest jobs
    List(ListArguments),
    /// Show the progress of jobs until they end
    Watch(JobsArguments),
    /// Wait until jobs have ended: exit 0 when all completed, 1 otherwise
    Wait(JobsArguments),
    /// Print or save the result of a completed job
    Result(ResultArguments),
    /// Stop jobs
    Cancel(JobsArguments),
    /// Try discarded or cancelled jobs again
    Retry(JobsArguments),
    /// Show the queue in numbers
    Queue(QueueArguments),
    /// Show the workers alive
    Workers(JsonArguments),
    /// List and treat dead letters: jobs that failed for good
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Learn, list and forget known voices: results then carry names
    #[command(subcommand)]
    Speakers(SpeakersCommand),
    /// Compare turns with a reference: DER with its parts, and JER
    #[command(after_help = score::RULES)]
    Score(ScoreArguments),
    /// Serve the HTTP API, carry notices, rescue jobs and deliver webhooks until told to stop
    Serve(ServeArguments),
    /// Make, list and revoke keys of the HTTP API
    #[command(subcommand)]
    Keys(KeysCommand),
    /// See and repeat the deliveries of webhooks
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    #[command(hide = true)]
    Man,
}

/// The only flag of some commands.
#[derive(Debug, Args)]
pub struct JsonArguments {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `rollcall config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each setting and where it came from; secrets are not shown
    Show(JsonArguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
