//! Why a job failed: a stable code, where, whether trying again can help, and a sentence for a person.
//!
//! Invariant: codes are an API; a code is added, never renamed.

use serde::{Deserialize, Serialize};

/// The stable failure codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// No decoder for this content.
    AudioUnsupported,
    /// The content claims a format that it breaks.
    AudioCorrupt,
    /// A readable file without a single sample.
    AudioEmpty,
    /// Longer or larger than the limits.
    AudioTooLong,
    /// The audio does not exist.
    SourceMissing,
    /// The audio may not be read.
    SourceForbidden,
    /// The bundle and the program disagree (self-test, geometry, outputs).
    ModelMismatch,
    /// The device went away.
    DeviceLost,
    /// The device has too little memory even for the smallest batch.
    DeviceOutOfMemory,
    /// The object store did not answer.
    StoreUnavailable,
    /// Another worker holds the job.
    LeaseLost,
    /// The job took longer than its timeout.
    Timeout,
    /// The worker vanished too often while it held the job.
    WorkerLost,
    /// A recording cannot serve as a known voice.
    VoiceUnsuitable,
    /// Outside what the worker may touch.
    NotAllowed,
    /// Retryable failures used up the attempts.
    AttemptsExhausted,
    /// A defect of ours.
    Internal,
}

/// The step of the trip in which a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the audio from where it lies.
    Fetch,
    /// Turning it into samples.
    Decode,
    /// Running the segmentation network.
    Segmentation,
    /// Running the embedding network.
    Embedding,
    /// Finding the speakers.
    Clustering,
    /// Writing the documents.
    Render,
    /// Storing them.
    Store,
}

impl Stage {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Decode => "decode",
            Self::Segmentation => "segmentation",
            Self::Embedding => "embedding",
            Self::Clustering => "clustering",
            Self::Render => "render",
            Self::Store => "store",
        }
    }
}

/// What trying again would bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// A later attempt may succeed; it costs one attempt.
    Retryable,
    /// The same input fails again.
    Permanent,
    /// The work was stopped from outside; it costs nothing.
    Interrupted,
}

/// One failure of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// Stable code.
    pub code: FailureCode,
    /// Where it happened.
    pub stage: Stage,
    /// Whether it may be tried again.
    pub class: FailureClass,
    /// A sentence for a person, with the values that matter.
    pub detail: String,
}

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 17] = [
        Self::AudioUnsupported,
        Self::AudioCorrupt,
        Self::AudioEmpty,
        Self::AudioTooLong,
        Self::SourceMissing,
        Self::SourceForbidden,
        Self::ModelMismatch,
        Self::DeviceLost,
        Self::DeviceOutOfMemory,
        Self::StoreUnavailable,
        Self::LeaseLost,
        Self::Timeout,
        Self::WorkerLost,
        Self::VoiceUnsuitable,
        Self::NotAllowed,
        Self::AttemptsExhausted,
        Self::Internal,
    ];

    /// The code as it is written in documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AudioUnsupported => "audio_unsupported",
            Self::AudioCorrupt => "audio_corrupt",
            Self::AudioEmpty => "audio_empty",
            Self::AudioTooLong => "audio_too_long",
            Self::SourceMissing => "source_missing",
            Self::SourceForbidden => "source_forbidden",
            Self::ModelMismatch => "model_mismatch",
            Self::DeviceLost => "device_lost",
            Self::DeviceOutOfMemory => "device_out_of_memory",
            Self::StoreUnavailable => "store_unavailable",
            Self::LeaseLost => "lease_lost",
            Self::Timeout => "timeout",
            Self::WorkerLost => "worker_lost",
            Self::VoiceUnsuitable => "voice_unsuitable",
            Self::NotAllowed => "not_allowed",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Internal => "internal",
        }
    }
}
