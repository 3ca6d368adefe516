//! The trip of one job, on one screen: decode → observe → cluster → reconstruct → name → document.
//!
//! Each stage consumes what the one before gave. A failure says where it happened; nothing is ever replaced by a
//! default ("one speaker") when it fails.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::speech::result_document::{AudioFacts, BundleFacts, Document, Provenance, Timing};
use common::speech::time::Seconds;
use common::speech::transcript;
use common::telemetry::TRACED;

use crate::audio::AudioStream;
use crate::diarize::channels::{self, Call};
use crate::diarize::crosstalk::Levels;
use crate::diarize::observations::Observations;
use crate::diarize::pipeline::Pipeline;
use crate::diarize::speaker_limits::SpeakerLimits;
use crate::diarize::voices::recognise;
use crate::listen::Listener;
use crate::monologue::{self, Fast, Looked};
use crate::observe::EngineTime;
use crate::recording::{
    OpenAudio, Progress, Request, Watch, device_failure, each_block, failure, open_audio,
};
use crate::workbench::Workbench;

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
    let Looked { fast, decode, engine } = monologue::listen(bench, &pipeline, request, &known, watch)?;
    let is_fast = fast.is_some();
    let (mut heard, call) = match fast {
        Some(Fast { diarized, stream }) => {
            (Heard::of(&stream, audio.sha256, &pipeline), Call { diarized, channels: Vec::new() })
        }
        None => hear(bench, &pipeline, audio, request.speakers, watch)?,
    };
    // Looks that led nowhere took their time too.
    heard.decode += decode;
    heard.engine += engine;
    // Engines work side by side: what all of them took, spread over them, is what the recording waited for.
    let engines = u32::try_from(bench.device.lanes()).unwrap_or(u32::MAX).max(1);
    heard.engine.segmentation /= engines;
    heard.engine.embedding /= engines;
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
    let mut outcome = document(bench, request, heard, call, (known.len(), timing));
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

/// What decoding and both networks gave.
pub(crate) struct Heard {
    /// Of each channel that was kept apart.
    pub seen: Vec<Observations>,
    levels: Levels,
    facts: AudioFacts,
    container: &'static str,
    /// Length of the recording, seconds.
    pub duration_s: f64,
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

fn listen(
    bench: &Workbench,
    pipeline: &Pipeline,
    audio: OpenAudio,
    watch: &dyn Watch,
) -> Result<Heard, Failure> {
    let OpenAudio { mut stream, sha256 } = audio;
    if stream.outputs() > 1 && !Levels::suits(pipeline.geometry()) {
        return Err(Failure {
            code: FailureCode::ModelMismatch,
            stage: Stage::Segmentation,
            class: FailureClass::Permanent,
            detail: "the frames of this bundle's segmentation are too short or too long to tell the channels of a call \
                     apart; mix them, or take another bundle"
                .to_owned(),
        });
    }
    let mut listener = Listener::new(&bench.device, pipeline, stream.outputs());
    let decode = each_block(&mut stream, pipeline.geometry().rate_hz, watch, |block| {
        listener.push(block).map_err(device_failure)?;
        Ok(ControlFlow::Continue(listener.samples()))
    })?;
    let (seen, levels, engine) = listener.finish().map_err(device_failure)?;
    Ok(Heard { seen, levels, decode, engine, ..Heard::of(&stream, sha256, pipeline) })
}

/// The document; `known` is how many voices could be compared.
fn document(
    bench: &Workbench,
    request: &Request,
    mut heard: Heard,
    call: Call,
    (known, timing): (usize, Timing),
) -> Outcome {
    heard.warnings.extend(missing_speakers(&call, request.speakers.min()));
    heard.warnings.extend(request.voices.warnings.iter().cloned());
    heard.warnings.extend(strange_voices(request.voices.voices.len() - known));
    if let Some(channel) = heard.levels.same_as_first() {
        heard.warnings.push(format!(
            "channels 1 and {} carry the same sound, so who speaks on them counts once for each",
            channel + 1
        ));
    }
    let Call { diarized, channels } = call;
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
    let mut document = Document::new(&diarized.diarization, provenance).with_channels(&channels);
    if let Some(transcript) = &request.transcript {
        document = document.with_transcript(&transcript::join(transcript, &diarized.diarization));
    }
    Outcome { document, embeddings: diarized.in_label_order(), container: heard.container }
}

/// What the document says of known voices whose numbers mean nothing to this bundle.
fn strange_voices(count: usize) -> Option<String> {
    (count > 0).then(|| {
        format!(
            "{count} known voice(s) were learnt with other networks or settings and were not compared; enrol them again"
        )
    })
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
