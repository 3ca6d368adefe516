//! `rollcall-worker bench`: what each stage costs on this machine, and the whole.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use common::job::failure::Failure;
use common::job::spec::Channels;
use common::speech::result_document::JobFacts;
use serde::Serialize;

use crate::audio::{AudioStream, ChannelMode};
use crate::batch::plan::Network;
use crate::device::handle::{DeviceError, Rows};
use crate::diarize::fbank::{Fbank, subtract_mean};
use crate::diarize::pipeline::{EmbeddingPlan, Pipeline, PipelineError};
use crate::diarize::speaker_limits::SpeakerLimits;
use crate::job;
use crate::observe::Observer;
use crate::recording::{Progress, Request, Watch};
use crate::selftest;
use crate::workbench::Workbench;

/// Length of the synthetic recording, seconds.
const SYNTHETIC_S: usize = 120;
/// Rows that the networks are timed on, in full batches for every lane.
const BATCHES_PER_LANE: usize = 2;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A recording failed.
    #[error("{0}")]
    Job(#[from] Failure),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The bundle cannot be run.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The synthetic recording cannot be written.
    #[error("cannot write a temporary recording")]
    Temporary(#[from] io::Error),
}

/// All figures of one run of the benchmark.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Bundle name and version.
    pub bundle: String,
    /// What ran the networks.
    pub device: String,
    /// Engines at work.
    pub lanes: usize,
    /// Repetitions behind each median.
    pub repeat: usize,
    /// One entry per recording.
    pub recordings: Vec<Recording>,
}

/// Figures of one recording: medians, seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Recording {
    /// The file.
    pub audio: String,
    /// Its length, seconds.
    pub duration_s: f64,
    /// Decoding, mixing and resampling it, one thread.
    pub decode_s: f64,
    /// Filter banks over all of it, one thread.
    pub features_s: f64,
    /// Milliseconds of wall clock a chunk, all lanes at work.
    pub segmentation_ms_per_chunk: f64,
    /// Milliseconds of wall clock a window (or a chunk with its local speakers), all lanes at work, features included.
    pub embedding_ms_per_window: f64,
    /// Chunks that the recording has.
    pub chunks: usize,
    /// Windows, or local speakers, that were embedded.
    pub windows: usize,
    /// Clustering and reconstruction, one thread.
    pub clustering_s: f64,
    /// The whole job, decoding to document.
    pub end_to_end_s: f64,
    /// Audio seconds per second, end to end.
    pub speed: f64,
    /// Speakers found.
    pub speakers: usize,
}

impl Report {
    /// One JSON document and a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("a report holds only text and finite numbers");
        text.push('\n');
        text
    }

    /// A table for people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut out = format!(
            "bundle {}, device {}, {} lane(s), median of {}\n",
            self.bundle, self.device, self.lanes, self.repeat
        );
        for r in &self.recordings {
            let mut row = |what: &str, value: String| {
                writeln!(out, "  {what:22} {value}").expect("writing to memory");
            };
            let rate = |seconds: f64| {
                format!("{seconds:8.3} s   {:9.0}x real time", r.duration_s / seconds.max(1e-9))
            };
            row(&r.audio, format!("{:.1} s", r.duration_s));
            row("  decode", rate(r.decode_s));
            row("  features", rate(r.features_s));
            row(
                "  segmentation",
                format!("{:8.2} ms a chunk,  {} chunks", r.segmentation_ms_per_chunk, r.chunks),
            );
            row(
                "  embedding",
                format!("{:8.2} ms a window, {} windows", r.embedding_ms_per_window, r.windows),
            );
            row("  clustering", rate(r.clustering_s));
            row("  end to end", format!("{}, {} speaker(s)", rate(r.end_to_end_s), r.speakers));
        }
        out
    }
}

/// Nobody watches a benchmark.
struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: Progress) {}

    fn stop(&self) -> Option<Failure> {
        None
    }
}

/// Measures every recording; a synthetic one when none is given.
///
/// # Errors
/// See [`BenchError`].
pub fn measure(bench: &Workbench, audio: &[PathBuf], repeat: usize) -> Result<Report, BenchError> {
    let synthetic = if audio.is_empty() { Some(Temporary::synthetic()?) } else { None };
    let audio = synthetic.as_ref().map_or(audio, |t| std::slice::from_ref(&t.path));
    let pipeline = bench.bundle.pipeline()?;
    let recordings = audio
        .iter()
        .map(|path| recording(bench, &pipeline, path, repeat))
        .collect::<Result<Vec<_>, BenchError>>()?;
    let manifest = &bench.bundle.manifest;
    Ok(Report {
        bundle: format!("{} {}", manifest.name, manifest.version),
        device: bench.device_name.clone(),
        lanes: bench.device.lanes(),
        repeat,
        recordings,
    })
}

fn recording(
    bench: &Workbench,
    pipeline: &Pipeline,
    path: &Path,
    repeat: usize,
) -> Result<Recording, BenchError> {
    let rate = f64::from(pipeline.geometry().rate_hz);
    let mut samples = Vec::new();
    let decode_s = median(repeat, || {
        samples.clear();
        decode(bench, path, &mut samples)
    })?;
    let features_s = features(bench, pipeline, &samples, repeat)?;
    let chunk = pipeline.geometry().window;
    let (chunk_rows, segmentation_s) = network(bench, Network::Segmentation, &samples, chunk, 0, repeat)?;
    let (window_rows, embedding_s) = match pipeline.embedding_plan() {
        EmbeddingPlan::Windows(plan) => {
            network(bench, Network::Embedding, &samples, plan.window(), 0, repeat)?
        }
        EmbeddingPlan::Locals(plan) => {
            let weights = plan.local_speakers * pipeline.geometry().frames;
            network(bench, Network::Locals, &samples, chunk, weights, repeat)?
        }
    };
    let mut observer = Observer::new(&bench.device, pipeline);
    observer.push(&samples)?;
    let (seen, _) = observer.finish()?;
    let clustering_s = median(repeat, || {
        let _ = pipeline.diarize(&seen, SpeakerLimits::default());
        Ok(())
    })?;
    let request = Request {
        audio: path.to_owned(),
        uri: path.to_string_lossy().into_owned(),
        job: JobFacts { id: "bench".to_owned(), attempt: 1 },
        speakers: SpeakerLimits::default(),
        channels: Channels::Mix,
        transcript: None,
        voices: Arc::default(),
    };
    let mut speakers = 0;
    let end_to_end_s = median(repeat, || {
        speakers = job::run(bench, &request, &Unwatched)?.document.speakers.len();
        Ok(())
    })?;
    let duration_s = samples.len() as f64 / rate;
    Ok(Recording {
        audio: path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        duration_s,
        decode_s,
        features_s,
        segmentation_ms_per_chunk: 1e3 * segmentation_s / chunk_rows as f64,
        embedding_ms_per_window: 1e3 * embedding_s / window_rows as f64,
        chunks: seen.activity.len(),
        windows: seen.windows.len() + seen.locals.len(),
        clustering_s,
        end_to_end_s,
        speed: duration_s / end_to_end_s.max(1e-9),
        speakers,
    })
}

fn decode(bench: &Workbench, path: &Path, samples: &mut Vec<f32>) -> Result<(), BenchError> {
    let mut stream = AudioStream::open(path, &bench.limits, ChannelMode::Mix).map_err(|e| e.to_failure())?;
    let mut block = Vec::new();
    while stream.next_block(&mut block).map_err(|e| e.to_failure())? {
        samples.extend_from_slice(&block[0]);
    }
    Ok(())
}

/// Median time of the features of all samples, one thread; nothing for a network that makes its own.
fn features(
    bench: &Workbench,
    pipeline: &Pipeline,
    samples: &[f32],
    repeat: usize,
) -> Result<f64, BenchError> {
    let Some(feature) = &bench.bundle.manifest.embedding.feature else {
        return Ok(0.0);
    };
    let mut fbank = Fbank::new(feature, pipeline.geometry().rate_hz);
    let mut features = vec![0.0; fbank.frames(samples.len()) * fbank.bins()];
    median(repeat, || {
        fbank.compute(samples, &mut features);
        subtract_mean(&mut features, fbank.bins());
        Ok(())
    })
}

/// Median time of full batches on every lane; the recording is repeated where it is too short, and every weight
/// is 1. Returns rows, seconds.
fn network(
    bench: &Workbench,
    network: Network,
    samples: &[f32],
    length: usize,
    weights: usize,
    repeat: usize,
) -> Result<(usize, f64), BenchError> {
    let limits = bench.device.limits();
    let rows_max = match network {
        Network::Segmentation => limits.segmentation_rows_max,
        _ => limits.embedding_rows_max,
    };
    let rows = rows_max * bench.device.lanes() * BATCHES_PER_LANE;
    let row: Arc<[f32]> = samples.iter().copied().chain(std::iter::repeat(0.0)).take(length).collect();
    let time = median(repeat, || {
        let request = Rows { samples: row.clone(), starts: vec![0; rows], length };
        let weights = vec![1.0; weights * rows].into();
        bench.device.submit_weighted(network, request, weights).wait()?;
        Ok(())
    })?;
    Ok((rows, time))
}

/// Median wall-clock seconds of a measurement.
fn median(repeat: usize, mut work: impl FnMut() -> Result<(), BenchError>) -> Result<f64, BenchError> {
    let mut times = Vec::with_capacity(repeat);
    for _ in 0..repeat.max(1) {
        let began = Instant::now();
        work()?;
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// A recording that disappears with the value.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// The self-test's signal as a 16-bit WAV file.
    fn synthetic() -> io::Result<Self> {
        let rate = 16_000u32;
        let path = std::env::temp_dir().join(format!("rollcall-bench-{}.wav", std::process::id()));
        let samples = selftest::signal(SYNTHETIC_S * rate as usize, rate);
        let bytes = 2 * samples.len() as u32;
        let mut out = Vec::with_capacity(44 + bytes as usize);
        out.extend(b"RIFF");
        out.extend((36 + bytes).to_le_bytes());
        out.extend(b"WAVEfmt ");
        out.extend(16u32.to_le_bytes());
        // PCM, one channel.
        out.extend([1, 0, 1, 0]);
        out.extend(rate.to_le_bytes());
        out.extend((2 * rate).to_le_bytes());
        // Bytes a frame, bits a sample.
        out.extend([2, 0, 16, 0]);
        out.extend(b"data");
        out.extend(bytes.to_le_bytes());
        out.extend(samples.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()));
        let temporary = Self { path };
        io::BufWriter::new(std::fs::File::create(&temporary.path)?).write_all(&out)?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A file left behind in the temporary folder does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}
