//! The trip of one job, on one screen: decode → observe → cluster → reconstruct → name → document.
//!
//! Each stage consumes what the one before gave. A failure says where it happened; nothing is ever replaced by a
//! default ("one speaker") when it fails.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::spec::Channels;
use common::speech::diarization::Diarization;
use common::speech::result_document::{AudioFacts, BundleFacts, Document, JobFacts, Provenance, Timing};
use common::speech::time::Seconds;
use common::speech::transcript::{self, Transcript};
use common::speech::voice::VoiceSet;
use common::telemetry::TRACED;
use sha2::{Digest, Sha256};

use crate::audio::{AudioStream, ChannelMode};
use crate::device::bundle::hex;
use crate::device::engine::EngineError;
use crate::device::handle::DeviceError;
use crate::diarize::channels::{self, Call};
use crate::diarize::crosstalk::Levels;
use crate::diarize::observations::Observations;
use crate::diarize::pipeline::{Diarized, Pipeline};
use crate::diarize::speaker_limits::SpeakerLimits;
use crate::diarize::voices::recognise;
use crate::listen::Listener;
use crate::monologue::{self, Fast};
use crate::observe::EngineTime;
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

/// What came out.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// `segments.json`.
    pub document: Document,
    /// One unit-length centroid a speaker, in label order.
    pub embeddings: Vec<Vec<f32>>,
    /// Name of the audio's container.
    pub container: &'static str,
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

/// Runs a job; a panic in it becomes a failure of this job alone.
///
/// # Errors
/// The job's failure.
pub fn run(bench: &Workbench, request: &Request, watch: &dyn Watch) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| trip(bench, request, watch))).unwrap_or_else(|panic| {
        let what =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failure {
            code: FailureCode::Internal,
            stage: Stage::Clustering,
            class: FailureClass::Permanent,
            detail: format!("a defect in Rollcall: {}", what.unwrap_or("panic")),
        })
    })
}

fn trip(bench: &Workbench, request: &Request, watch: &dyn Watch) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let pipeline = pipeline(bench)?;
    let audio = open_audio(bench, request)?;
    let known = request.voices.of(&bench.bundle.manifest.embedding_sha256());
    let voices = &bench.bundle.manifest.voices;
    let (heard, call, is_fast) = match monologue::listen(bench, &pipeline, request, &known, watch)? {
        Some(Fast { found, stream }) => {
            let heard = Heard::of(&stream, audio.sha256, &pipeline);
            let call = Call { diarized: found.diarized, channels: Vec::new() };
            (Heard { decode: found.decode, engine: found.engine, ..heard }, call, true)
        }
        None => {
            let (heard, call) = hear(bench, &pipeline, audio, request.speakers, watch)?;
            (heard, call, false)
        }
    };
    for (stage, spent) in [
        (Stage::Decode, heard.decode),
        (Stage::Segmentation, heard.engine.segmentation),
        (Stage::Embedding, heard.engine.embedding),
        (Stage::Clustering, heard.clustering),
    ] {
        watch.spent(stage, spent);
    }
    let timing = Timing {
        decode_s: heard.decode.as_secs_f64(),
        segmentation_s: heard.engine.segmentation.as_secs_f64(),
        embedding_s: heard.engine.embedding.as_secs_f64(),
        clustering_s: heard.clustering.as_secs_f64(),
        total_s: began.elapsed().as_secs_f64(),
        realtime_factor: 0.0,
    };
    let mut outcome = document(bench, request, heard, call, timing);
    let names = recognise(&outcome.embeddings, &known, voices.cosine_min);
    outcome.document = outcome.document.with_voices(&names);
    if is_fast {
        outcome.document = outcome.document.by_fast_path();
    }
    Ok(outcome)
}

/// What the manifest says about the way.
pub(crate) fn pipeline(bench: &Workbench) -> Result<Pipeline, Failure> {
    bench.bundle.pipeline().map_err(|e| failure(FailureCode::ModelMismatch, Stage::Clustering, e))
}

/// Everything up to the turns.
pub(crate) fn hear(
    bench: &Workbench,
    pipeline: &Pipeline,
    audio: OpenAudio,
    speakers: SpeakerLimits,
    watch: &dyn Watch,
) -> Result<(Heard, Call), Failure> {
    let listening = tracing::error_span!(target: TRACED, "listen");
    let mut heard = listening.in_scope(|| listen(bench, pipeline, audio, watch))?;
    let audio_s = heard.duration_s;
    watch.progress(Progress { stage: Stage::Clustering, audio_s, total_s: Some(audio_s) });
    let clustering = Instant::now();
    let call = tracing::error_span!(target: TRACED, "cluster")
        .in_scope(|| channels::diarize(pipeline, &heard.seen, &heard.levels, speakers));
    heard.clustering = clustering.elapsed();
    Ok((heard, call))
}

/// An opened recording and the digest of its bytes.
pub(crate) struct OpenAudio {
    stream: AudioStream,
    sha256: String,
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

/// What decoding and both networks gave.
pub(crate) struct Heard {
    /// Of each channel that was kept apart.
    pub seen: Vec<Observations>,
    levels: Levels,
    facts: AudioFacts,
    container: &'static str,
    duration_s: f64,
    warnings: Vec<String>,
    decode: Duration,
    engine: EngineTime,
    clustering: Duration,
}

impl Heard {
    /// What a stream that was read to its end says; nothing seen, nothing measured.
    fn of(stream: &AudioStream, sha256: String, pipeline: &Pipeline) -> Self {
        let (info, summary) = (stream.info(), stream.summary());
        let facts = AudioFacts {
            uri: String::new(),
            sha256,
            duration: Seconds::new(summary.duration_s).unwrap_or(Seconds::ZERO).into(),
            sample_rate_hz: info.sample_rate_hz,
            channels: u32::from(info.channels),
            codec: info.codec.clone(),
        };
        Self {
            seen: Vec::new(),
            levels: Levels::new(pipeline.geometry(), 1),
            facts,
            container: info.container,
            duration_s: summary.duration_s,
            warnings: summary.warnings.iter().map(ToString::to_string).collect(),
            decode: Duration::ZERO,
            engine: EngineTime::default(),
            clustering: Duration::ZERO,
        }
    }
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
    mut take: impl FnMut(&mut Vec<Vec<f32>>) -> Result<ControlFlow<(), usize>, Failure>,
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
        let ControlFlow::Continue(heard) = take(&mut block)? else { return Ok(decode) };
        let audio_s = heard as f64 / f64::from(rate_hz);
        watch.progress(Progress { stage: Stage::Segmentation, audio_s, total_s });
    }
}

fn listen(
    bench: &Workbench,
    pipeline: &Pipeline,
    audio: OpenAudio,
    watch: &dyn Watch,
) -> Result<Heard, Failure> {
    let OpenAudio { mut stream, sha256 } = audio;
    let mut listener = Listener::new(&bench.device, pipeline, stream.outputs());
    let decode = each_block(&mut stream, pipeline.geometry().rate_hz, watch, |block| {
        listener.push(block).map_err(device_failure)?;
        Ok(ControlFlow::Continue(listener.samples()))
    })?;
    let (seen, levels, engine) = listener.finish().map_err(device_failure)?;
    Ok(Heard { seen, levels, decode, engine, ..Heard::of(&stream, sha256, pipeline) })
}

fn document(bench: &Workbench, request: &Request, mut heard: Heard, call: Call, timing: Timing) -> Outcome {
    heard.warnings.extend(missing_speakers(&call, request.speakers.min()));
    heard.warnings.extend(request.voices.warnings.iter().cloned());
    if let Some(channel) = heard.levels.same_as_first() {
        heard.warnings.push(format!(
            "channels 1 and {} carry the same sound, so who speaks on them counts once for each",
            channel + 1
        ));
    }
    let Call { diarized: Diarized { diarization, centroids }, channels } = call;
    let bundle = &bench.bundle;
    let provenance = Provenance {
        job: request.job.clone(),
        audio: AudioFacts { uri: request.uri.clone(), ..heard.facts },
        bundle: BundleFacts {
            name: bundle.manifest.name.clone(),
            version: bundle.manifest.version.clone(),
            sha256: bundle.sha256.clone(),
        },
        device: bench.device_name.clone(),
        timing,
        warnings: heard.warnings,
    };
    let mut document = Document::new(&diarization, provenance).with_channels(&channels);
    if let Some(transcript) = &request.transcript {
        document = document.with_transcript(&transcript::join(transcript, &diarization));
    }
    Outcome { document, embeddings: in_label_order(&diarization, centroids), container: heard.container }
}

/// What the document says where fewer people were found than were asked for.
fn missing_speakers(call: &Call, wanted: usize) -> Vec<String> {
    let missing = |found: usize, place: String| {
        let told = || format!("{place}only {found} of at least {wanted} speakers could be told apart");
        (1..wanted).contains(&found).then(told)
    };
    if call.channels.is_empty() {
        return missing(call.diarized.diarization.speakers(), String::new()).into_iter().collect();
    }
    let last = call.channels.iter().max().copied().unwrap_or(0);
    let found = |channel: usize| call.channels.iter().filter(|of| **of == channel).count();
    (0..=last).filter_map(|channel| missing(found(channel), format!("channel {}: ", channel + 1))).collect()
}

pub(crate) fn in_label_order(diarization: &Diarization, centroids: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let mut ordered = vec![Vec::new(); diarization.speakers()];
    for (old, centroid) in centroids.into_iter().enumerate() {
        if let Some(new) = diarization.renumbered(old) {
            ordered[new] = centroid;
        }
    }
    ordered
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

fn failure(code: FailureCode, stage: Stage, error: impl std::error::Error) -> Failure {
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
