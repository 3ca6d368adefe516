//! One recording to work on: what is asked, who watches, how it is opened and gone through, what its failures are.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::spec::Channels;
use common::speech::result_document::JobFacts;
use common::speech::transcript::Transcript;
use common::speech::voice::VoiceSet;
use sha2::{Digest, Sha256};

use crate::audio::{AudioStream, ChannelMode};
use crate::device::bundle::hex;
use crate::device::engine::EngineError;
use crate::device::handle::DeviceError;
use crate::diarize::speaker_limits::SpeakerLimits;
use crate::workbench::Workbench;

/// One recording to diarize.
#[derive(Debug, Clone)]
pub struct Request {
    /// The audio, as a local file.
    pub audio: PathBuf,
    /// What the document calls it.
    pub uri: String,
    /// Id and attempt for the document.
    pub job: JobFacts,
    /// How many speakers there may be; with separate channels, on each of them.
    pub speakers: SpeakerLimits,
    /// What the channels are. With [`Channels::Separate`] each has its own people; one channel is as if mixed.
    pub channels: Channels,
    /// A transcript whose segments get speakers.
    pub transcript: Option<Arc<Transcript>>,
    /// The voices that speakers may be.
    pub voices: Arc<VoiceSet>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Audio processed, seconds.
    pub audio_s: f64,
    /// Audio in all, seconds, where the file says so.
    pub total_s: Option<f64>,
}

/// Whoever watches a job, and may stop it.
pub trait Watch: Sync {
    /// Called a few times a second at most per block of audio.
    fn progress(&self, progress: Progress);

    /// So much time went into a stage: for the networks, engine time.
    fn spent(&self, _stage: Stage, _time: Duration) {}

    /// A failure (cancelled, lease lost, timed out) ends the job at the next block.
    fn stop(&self) -> Option<Failure>;
}

/// An opened recording and the digest of its bytes.
pub(crate) struct OpenAudio {
    pub stream: AudioStream,
    pub sha256: String,
}

pub(crate) fn open_audio(bench: &Workbench, request: &Request) -> Result<OpenAudio, Failure> {
    let stream = open_stream(bench, request)?;
    let sha256 = digest(&request.audio).map_err(|e| Failure {
        class: FailureClass::Retryable,
        ..failure(FailureCode::StoreUnavailable, Stage::Fetch, e)
    })?;
    Ok(OpenAudio { stream, sha256 })
}

/// A recording that can be decoded, at its start.
pub(crate) fn open_stream(bench: &Workbench, request: &Request) -> Result<AudioStream, Failure> {
    let mode = match request.channels {
        Channels::Mix => ChannelMode::Mix,
        Channels::Separate => ChannelMode::Separate,
    };
    AudioStream::open(&request.audio, &bench.limits, mode).map_err(|e| e.to_failure())
}

/// Goes through a recording, block by block, for as long as `take` continues with how many samples it has heard; gives
/// the time that decoding took.
///
/// # Errors
/// When the audio fails, the job has to stop, or `take` fails.
pub(crate) fn each_block(
    stream: &mut AudioStream,
    rate_hz: u32,
    watch: &dyn Watch,
    mut take: impl FnMut(&[Vec<f32>]) -> Result<ControlFlow<(), usize>, Failure>,
) -> Result<Duration, Failure> {
    let total_s = stream.info().declared_duration_s;
    let (mut decode, mut block) = (Duration::ZERO, Vec::new());
    loop {
        if let Some(stopped) = watch.stop() {
            return Err(stopped);
        }
        let started = Instant::now();
        let more = stream.next_block(&mut block).map_err(|e| e.to_failure())?;
        decode += started.elapsed();
        if !more {
            return Ok(decode);
        }
        let ControlFlow::Continue(heard) = take(&block)? else { return Ok(decode) };
        let audio_s = heard as f64 / f64::from(rate_hz);
        watch.progress(Progress { stage: Stage::Segmentation, audio_s, total_s });
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

pub(crate) fn failure(code: FailureCode, stage: Stage, error: impl std::error::Error) -> Failure {
    Failure { code, stage, class: FailureClass::Permanent, detail: error.to_string() }
}

pub(crate) fn device_failure(error: DeviceError) -> Failure {
    let (code, class) = match &error {
        DeviceError::Stopped => (FailureCode::DeviceLost, FailureClass::Retryable),
        DeviceError::Engine(engine) => match &**engine {
            EngineError::OutOfMemory { .. } => (FailureCode::DeviceOutOfMemory, FailureClass::Retryable),
            EngineError::Lost { .. } => (FailureCode::DeviceLost, FailureClass::Retryable),
            EngineError::OutputShape { .. } | EngineError::NoSuchNetwork { .. } => {
                (FailureCode::ModelMismatch, FailureClass::Permanent)
            }
            EngineError::NotFinite { .. } | EngineError::Library { .. } => {
                (FailureCode::Internal, FailureClass::Retryable)
            }
        },
    };
    Failure { code, stage: Stage::Segmentation, class, detail: error.to_string() }
}
