//! `rollcall speakers ...`

use clap::{Args, Subcommand};
use common::speech::voice::{VoiceError, is_voice_name};

/// The commands about known voices.
#[derive(Debug, Subcommand)]
pub enum SpeakersCommand {
    /// Learn a voice from recordings of one person, at least 10 s of clean speech in all
    Enroll(EnrollArguments),
    /// List the known voices
    List(SpeakersListArguments),
    /// Forget voices
    Remove(RemoveArguments),
}

/// `rollcall speakers enroll`
#[derive(Debug, Args)]
pub struct EnrollArguments {
    /// Whose voice it is
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: String,
    /// Recordings of the person alone: files or folders, `s3://` objects or prefixes, `https://` addresses; up to 16
    #[arg(value_name = "AUDIO", required = true)]
    pub audio: Vec<String>,
    /// Bundle that is to learn it: NAME or NAME@VERSION [default: whatever a worker has loaded]
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: Option<String>,
    /// Also take what lies below folders and `s3://` prefixes
    #[arg(long, short)]
    pub recursive: bool,
    /// Print the job's id and do not wait for its end
    #[arg(long)]
    pub no_wait: bool,
    /// Print the record of the job as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// `rollcall speakers list`
#[derive(Debug, Args)]
pub struct SpeakersListArguments {
    /// Only the voices of this bundle
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `rollcall speakers remove`
#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// Whose voices
    #[arg(value_name = "NAME", required = true, value_parser = name)]
    pub names: Vec<String>,
    /// Only of this bundle
    #[arg(long, value_name = "BUNDLE")]
    pub bundle: Option<String>,
}

fn name(text: &str) -> Result<String, String> {
    if is_voice_name(text) { Ok(text.to_owned()) } else { Err(VoiceError::Name.to_string()) }
}
