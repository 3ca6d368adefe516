//! What a worker does with a recording: the networks and everything around them, or a stand-in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::job::failure::Failure;
use common::job::spec::{ContentDigest, JobSpec};
use common::speech::voice::VoiceSet;

use crate::device::reading::DeviceReading;
use crate::recording::Watch;

/// The work itself, behind the fleet's machinery: one recording at hand in, documents out.
///
/// Contract: the same task gives the same documents; `work` asks [`Watch::stop`] often enough for a cancel to take effect
/// within two seconds or one batch, and may be called from several threads at once.
pub trait Craft: Send + Sync + 'static {
    /// How the fleet knows this worker.
    fn badge(&self) -> Badge;

    /// What a job needs, before anything is fetched for it.
    ///
    /// # Errors
    /// Why this worker, or any like it, cannot do the job at all.
    fn needs(&self, spec: &JobSpec) -> Result<Needs, Failure>;

    /// The device as it is now, for whoever scrapes; `None` where there is none.
    fn device(&self) -> Option<DeviceReading> {
        None
    }

    /// Does the work. Blocks.
    ///
    /// # Errors
    /// The job's failure.
    fn work(&self, task: &Task, watch: &dyn Watch) -> Result<Product, Failure>;
}

/// What a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The device's own name.
    pub device_name: String,
    /// The bundle that is loaded.
    pub bundle: String,
    /// Its version.
    pub version: String,
}

/// What a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Memory while it works, bytes.
    pub memory_bytes: u64,
    /// Whether the audio and the transcript are to be fetched.
    pub sources: bool,
}

/// A job whose sources are at hand.
#[derive(Debug)]
pub struct Task {
    /// The job's id.
    pub job: String,
    /// The how-manyth try this is, from 1.
    pub attempt: u32,
    /// What is asked for.
    pub spec: JobSpec,
    /// The recording; `None` when [`Needs::sources`] was false.
    pub audio: Option<PathBuf>,
    /// The transcript, when the job has one.
    pub transcript: Option<Bytes>,
    /// Further recordings of a person whose voice is learnt.
    pub more_audio: Vec<PathBuf>,
    /// The voices that speakers may be.
    pub voices: Arc<VoiceSet>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Names and contents of the documents.
    pub documents: Vec<(String, Vec<u8>)>,
    /// Length of the recording.
    pub audio: Duration,
    /// Digest of the recording.
    pub audio_sha256: Option<ContentDigest>,
    /// `NAME@VERSION` of the bundle that did it.
    pub bundle: Option<String>,
    /// What names the voices that speakers were compared with.
    pub voices: Option<ContentDigest>,
}
