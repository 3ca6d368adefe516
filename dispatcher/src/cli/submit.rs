//! `rollcall submit`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use common::job::lane::Lane;

use super::duration;

/// Flags of `rollcall submit`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").args(["audio", "manifest"]).required(true).multiple(true),
    group = ArgGroup::new("exact").args(["num_speakers"]).conflicts_with_all(["min_speakers", "max_speakers"]),
)]
pub struct SubmitArguments {
    /// Local files or folders, `s3://` objects or prefixes, `https://` addresses; `-` reads a list from stdin
    #[arg(value_name = "AUDIO")]
    pub audio: Vec<String>,
    /// File with a job a line, as JSON: `{"audio": "PATH or URI", "options": {…}, "priority": …}`. Relative paths start
    /// at its folder; flags are defaults for what a line does not say
    #[arg(long, value_name = "JOBS.jsonl")]
    pub manifest: Option<PathBuf>,
    /// Also take what lies below folders and `s3://` prefixes
    #[arg(long, short)]
    pub recursive: bool,
    /// Transcript whose segments are to get speakers: a local file or `s3://`; for one recording
    #[arg(long, value_name = "FILE")]
    pub transcript: Option<String>,
    /// How many people speak, when it is known
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub num_speakers: Option<u32>,
    /// At least so many people speak
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub min_speakers: Option<u32>,
    /// At most so many people speak
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_speakers: Option<u32>,
    /// `mix`: one scene; `separate`: a call with its people on separate channels [default: mix]
    #[arg(long, value_name = "MODE")]
    pub channels: Option<ChannelsFlag>,
    /// Documents to write [default: json,rttm,html]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub formats: Vec<FormatFlag>,
    /// Bundle that is to do the work: NAME or NAME@VERSION [default: whatever a worker has loaded]
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: Option<String>,
    /// Which jobs go first: `high`, `normal` or `low` [default: normal]
    #[arg(long, value_name = "P")]
    pub priority: Option<Lane>,
    /// Not before this much time has passed
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub delay: Option<Duration>,
    /// Failed attempts after which a job is given up [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_attempts: Option<u32>,
    /// Longest time for one attempt [default: 24h]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
    /// Your name for this submission: submitting it again gives the same job. With several recordings each gets a key
    /// of its own, made of this and its content
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Your own words for the job; may be repeated
    #[arg(long = "tag", value_name = "K=V", value_parser = tag)]
    pub tags: Vec<(String, String)>,
    /// Address that is told about the end; needs `ROLLCALL_WEBHOOK_SECRET`
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// Where the documents go besides the store's own place: `s3://BUCKET/PREFIX/`; with several recordings each has a
    /// folder there, named by its job
    #[arg(long, value_name = "PREFIX")]
    pub output: Option<String>,
    /// Do the work even when the same content was diarized before
    #[arg(long)]
    pub no_cache: bool,
    /// Submit content that made workers crash before
    #[arg(long)]
    pub force: bool,
    /// Show progress and wait for the end: exit 0 when all completed, 1 otherwise
    #[arg(long)]
    pub wait: bool,
    /// Print the record of each job as a JSON line, instead of its id
    #[arg(long)]
    pub json: bool,
}

/// What the channels of a recording are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChannelsFlag {
    /// One scene.
    Mix,
    /// People on separate channels.
    Separate,
}

/// A form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatFlag {
    /// `segments.json`
    Json,
    /// `turns.rttm`
    Rttm,
    /// `subtitles.srt`
    Srt,
    /// `subtitles.vtt`
    Vtt,
    /// `timeline.html`
    Html,
    /// `transcript.txt`
    Txt,
}

/// A tag of the form `key=value`.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a tag has the form `key=value`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_a_key() {
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(tag("a="), Ok(("a".to_owned(), String::new())));
        assert!(tag("=b").is_err() && tag("a").is_err());
    }
}
