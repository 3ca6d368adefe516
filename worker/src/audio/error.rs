//! Why audio cannot be read, and what a job says about it.

use std::path::PathBuf;

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};

/// Why audio cannot be read. Variants are told apart by what the owner of the file can do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AudioError {
    /// No such file.
    #[error("the audio does not exist: `{}`", .path.display())]
    Missing {
        /// What was opened.
        path: PathBuf,
    },
    /// The file may not be read.
    #[error("no permission to read the audio: `{}`", .path.display())]
    Forbidden {
        /// What was opened.
        path: PathBuf,
    },
    /// A folder.
    #[error("a folder, not an audio file: `{}`", .path.display())]
    Directory {
        /// What was opened.
        path: PathBuf,
    },
    /// A pipe, socket or device: it has no length and cannot be read twice.
    #[error("not a regular file: `{}`", .path.display())]
    NotAFile {
        /// What was opened.
        path: PathBuf,
    },
    /// The disk or network below the file failed; trying again can help.
    #[error("reading the audio failed: {reason}")]
    Unreadable {
        /// What the system said.
        reason: String,
    },
    /// More bytes than the limit.
    #[error("the file has {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Longer than the limit.
    #[error("the audio is longer than the limit: at least {at_least_s:.0} s, limit {duration_s_max:.0} s")]
    TooLong {
        /// What was decoded or declared, seconds.
        at_least_s: f64,
        /// The limit, seconds.
        duration_s_max: f64,
    },
    /// A readable file without a single sample.
    #[error("the file contains no audio samples ({container})")]
    Empty {
        /// What the file is.
        container: &'static str,
    },
    /// No decoder for this content.
    #[error("unsupported audio: {what}")]
    Unsupported {
        /// The format, codec or property by name.
        what: String,
    },
    /// A container with pictures or data only.
    #[error("no audio track that can be decoded in this {container} file ({tracks} tracks)")]
    NoAudioTrack {
        /// What the file is.
        container: &'static str,
        /// How many tracks it has.
        tracks: usize,
    },
    /// More channels than the limit.
    #[error("the audio has {channels} channels, more than the limit of {channels_max}")]
    TooManyChannels {
        /// What the file has.
        channels: usize,
        /// The limit.
        channels_max: u16,
    },
    /// The content claims a format and breaks it.
    #[error("corrupt audio: {what}")]
    Corrupt {
        /// What is broken, with the place where it is known.
        what: String,
    },
}

impl AudioError {
    /// The stable failure code of this error.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Missing { .. } => FailureCode::SourceMissing,
            Self::Forbidden { .. } => FailureCode::SourceForbidden,
            Self::Unreadable { .. } => FailureCode::StoreUnavailable,
            Self::TooLarge { .. } | Self::TooLong { .. } => FailureCode::AudioTooLong,
            Self::Empty { .. } => FailureCode::AudioEmpty,
            Self::Directory { .. }
            | Self::NotAFile { .. }
            | Self::Unsupported { .. }
            | Self::NoAudioTrack { .. }
            | Self::TooManyChannels { .. } => FailureCode::AudioUnsupported,
            Self::Corrupt { .. } => FailureCode::AudioCorrupt,
        }
    }

    /// The failure of a job that met this error. Only a failing disk or network is worth another attempt.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let stage = match self {
            Self::Missing { .. }
            | Self::Forbidden { .. }
            | Self::Directory { .. }
            | Self::NotAFile { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. } => Stage::Fetch,
            _ => Stage::Decode,
        };
        let class = match self {
            Self::Unreadable { .. } => FailureClass::Retryable,
            _ => FailureClass::Permanent,
        };
        Failure { code: self.code(), stage, class, detail: self.to_string() }
    }

    /// Shorthand for a broken format.
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// Shorthand for a format without a decoder.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into() }
    }
}
