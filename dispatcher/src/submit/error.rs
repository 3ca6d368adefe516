//! Why nothing was submitted, and what to try.

use std::io;
use std::path::PathBuf;

use common::adapter::web::WebError;
use common::job::spec::SpecError;
use common::port::job_store::IdempotencyError;
use common::port::object_store::StoreError;
use common::speech::transcript::TranscriptError;

use super::manifest::ManifestError;
use super::source::SourceError;
use crate::command::error::FleetError;
use crate::command::{ExitStatus, Explain};
use crate::wire::request::RequestError;

/// Largest recording, bytes (contract, section 9).
pub const AUDIO_BYTES_MAX: u64 = 8 << 30;

/// Why a submission failed before it changed anything but uploads.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A service or a setting.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// An argument names nothing that can be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A list of jobs is refused.
    #[error("cannot use the list: `{name}`")]
    Manifest {
        /// Its path, or `-`.
        name: String,
        /// Why.
        source: ManifestError,
    },
    /// A file cannot be read.
    #[error("cannot read: `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket, a device, a pipe.
    #[error("not a file or folder: `{}`", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file changed between reading and uploading.
    #[error("the file changed while it was uploaded: `{}`", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Larger than any worker takes.
    #[error("the recording is larger than {AUDIO_BYTES_MAX} bytes: `{name}`: {bytes}")]
    TooLarge {
        /// Path or address.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// A folder or prefix without recordings.
    #[error("no recordings in: `{name}`")]
    Nothing {
        /// Path or address.
        name: String,
        /// Whether what lies deeper was left out.
        shallow: bool,
    },
    /// More recordings than one call takes.
    #[error("more than {most} recordings at once")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// A prefix without the flag that takes it.
    #[error("a prefix, not an object: `{uri}`")]
    Prefix {
        /// The address.
        uri: String,
    },
    /// No such object.
    #[error("no such object: `{uri}`")]
    Missing {
        /// The address, or the bucket.
        uri: String,
    },
    /// The object may not be read.
    #[error("the store forbids: `{uri}`")]
    Forbidden {
        /// The address.
        uri: String,
        /// What it said.
        source: StoreError,
    },
    /// Outside the store and the allowed prefixes.
    #[error("outside the store and of what is allowed: `{uri}`")]
    NotAllowed {
        /// The address.
        uri: String,
    },
    /// A part of the store with a meaning of its own.
    #[error("the store keeps this place for itself: `{uri}`")]
    Reserved {
        /// The address.
        uri: String,
    },
    /// Not a place that documents can be copied to.
    #[error("not an address of the form `s3://bucket/prefix/` that documents can be copied to: `{uri}`")]
    Output {
        /// What was given.
        uri: String,
    },
    /// Documents are copied from one place of S3 to another.
    #[error("documents are copied only to `s3://`, and only from a store there: `{uri}`")]
    OutputOfFolder {
        /// What was given.
        uri: String,
    },
    /// The transcript cannot be used.
    #[error("not a transcript that can be used: `{name}`")]
    Transcript {
        /// Path.
        name: String,
        /// Why.
        source: TranscriptError,
    },
    /// One transcript for several recordings.
    #[error("`--transcript` goes with one recording, not with {recordings}")]
    TranscriptForMany {
        /// How many there are.
        recordings: usize,
    },
    /// A wish is out of its bounds.
    #[error("not a job that can be done")]
    Spec(#[from] SpecError),
    /// The key is empty or too long.
    #[error("not an idempotency key")]
    Idempotency(#[from] IdempotencyError),
    /// Webhooks need a secret.
    #[error("webhooks are refused without a secret: `{url}`")]
    NoWebhookSecret {
        /// The address that was to be told.
        url: String,
    },
    /// Not an address that can be told.
    #[error("not an `https://` address that may be told: `{url}`")]
    Callback {
        /// What was given.
        url: String,
        /// Why.
        source: WebError,
    },
    /// Nobody has the bundle.
    #[error("no such bundle: `{bundle}`")]
    UnknownBundle {
        /// What was asked for.
        bundle: String,
        /// What the workers alive have.
        known: Vec<String>,
    },
}

impl Explain for SubmitError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::Fleet(error) => error.status(),
            Self::Source(_)
            | Self::Prefix { .. }
            | Self::TooMany { .. }
            | Self::TranscriptForMany { .. }
            | Self::Spec(_)
            | Self::Idempotency(_)
            | Self::NoWebhookSecret { .. }
            | Self::Output { .. }
            | Self::OutputOfFolder { .. }
            | Self::Callback { .. }
            | Self::Manifest { source: ManifestError::Line { source: RequestError::Spec(_), .. }, .. } => {
                ExitStatus::Usage
            }
            Self::Manifest { .. }
            | Self::Unreadable { .. }
            | Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::TooLarge { .. }
            | Self::Nothing { .. }
            | Self::Missing { .. }
            | Self::Forbidden { .. }
            | Self::NotAllowed { .. }
            | Self::Reserved { .. }
            | Self::Transcript { .. }
            | Self::UnknownBundle { .. } => ExitStatus::Failed,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Fleet(error) => return error.hints(),
            Self::UnknownBundle { known, .. } if !known.is_empty() => {
                format!("the workers alive have {}; `rollcall workers` shows them", known.join(", "))
            }
            Self::UnknownBundle { .. } => "`rollcall workers` shows what is there".to_owned(),
            Self::Manifest { .. } => {
                "each line is a job: `{\"audio\": \"PATH or URI\", \"options\": {…}, \"priority\": …}`"
                    .to_owned()
            }
            Self::Changed { .. } => "submit it again once it is complete".to_owned(),
            Self::TooLarge { .. } => {
                "compress it (`flac`, `opus`) or split it; up to 8 GiB and 24 hours are taken".to_owned()
            }
            Self::Nothing { shallow: true, .. } => "`--recursive` also takes what lies deeper".to_owned(),
            Self::Prefix { .. } => "`--recursive` takes everything below a prefix".to_owned(),
            Self::Missing { .. } => "is the address right, and is it the same S3 service?".to_owned(),
            Self::Forbidden { .. } => {
                "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` (or `AWS_PROFILE`) say who asks".to_owned()
            }
            Self::NotAllowed { .. } => {
                "set `ROLLCALL_ALLOW` to its prefix, here and where the workers run, or submit a copy"
                    .to_owned()
            }
            Self::Reserved { .. } => {
                "uploads, results, voices and bundles lie there; name a folder of your own".to_owned()
            }
            Self::Output { .. } => "the store, or `ROLLCALL_ALLOW`, has to hold it".to_owned(),
            Self::OutputOfFolder { .. } => {
                "`rollcall result JOB -o FILE` writes a document to a folder".to_owned()
            }
            Self::Transcript { .. } => {
                "read are Whisper, WhisperLive and WhisperX JSON, SRT and VTT".to_owned()
            }
            Self::TranscriptForMany { .. } => {
                "in a `--manifest` each line can name its own `options.transcript`".to_owned()
            }
            Self::NoWebhookSecret { .. } => {
                "set `ROLLCALL_WEBHOOK_SECRET`, here and wherever `rollcall serve` or workers run".to_owned()
            }
            Self::Source(_)
            | Self::Unreadable { .. }
            | Self::NotAFile { .. }
            | Self::Nothing { .. }
            | Self::TooMany { .. }
            | Self::Spec(_)
            | Self::Idempotency(_)
            | Self::Callback { .. } => return Vec::new(),
        };
        vec![hint]
    }
}
