//! `rollcall-worker gpu`: what a card computes against what a CPU does, and what it takes. `tests/gpu/run.sh` calls it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::home::Home;
use common::model::manifest::EmbeddingKind;

use crate::audio::{AudioLimits, AudioStream, ChannelMode};
use crate::device::bundle::{Bundle, BundleError};
use crate::device::cuda::{self, Card, CudaEngine, CudaError, CudaSetup, Prepared};
use crate::device::engine::{Engine, EngineError};
use crate::device::ort::engine::{CpuEngine, StartError};
use crate::diarize::fbank::Fbank;
use crate::diarize::observations::dot;
use crate::diarize::powerset::Powerset;
use crate::selftest;

/// Largest accepted difference of a feature, natural logarithm of an energy.
const FEATURE_BOUND: f64 = 1e-3;
/// Smallest accepted share of frames that get the same class.
const DECISION_BOUND: f64 = 0.999;
/// Smallest accepted cosine of an embedding with the CPU's.
const COSINE_BOUND: f64 = 0.9999;
/// Largest accepted difference of a kernel from its reference, relative.
const KERNEL_BOUND: f64 = 1e-4;
/// Rows of a batch in comparisons.
const ROWS: usize = 8;
/// Most of a recording that is compared, seconds.
const COMPARED_S: usize = 300;

/// Why there is nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No card that can be used.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// No bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The networks do not load.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The networks do not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A recording cannot be read.
    #[error("{path}: {detail}")]
    Audio {
        /// Which.
        path: String,
        /// Why.
        detail: String,
    },
}

/// What was found, as lines, and whether all of it holds.
#[derive(Debug, Default)]
pub struct Findings {
    /// For people.
    pub text: String,
    /// No bound was broken.
    pub good: bool,
}

impl Findings {
    fn new() -> Self {
        Self { text: String::new(), good: true }
    }

    fn add(&mut self, good: bool, line: &str) {
        self.good &= good;
        self.line(if good { "ok    " } else { "FAILED" }, line);
    }

    /// What breaks no bound and proves nothing.
    fn note(&mut self, line: &str) {
        self.line("      ", line);
    }

    fn line(&mut self, mark: &str, line: &str) {
        writeln!(self.text, "{mark}  {line}").expect("writing to memory");
    }
}

/// Compiles every kernel for the architectures, with NVRTC from `folders`; needs no card.
///
/// # Errors
/// See [`GpuError`].
pub fn compile(folders: &[PathBuf], archs: &[i32]) -> Result<Findings, GpuError> {
    let (compiler, all) = cuda::try_out_all(folders, archs)?;
    let mut findings = Findings::new();
    for cuda::Compiled { arch, code_bytes, ptx_bytes } in all {
        findings.add(
            true,
            &format!("sm_{arch}: {code_bytes} bytes of machine code, {ptx_bytes} of PTX ({compiler})"),
        );
    }
    Ok(findings)
}

/// A card, a bundle on it.
pub struct Bench {
    bundle: Bundle,
    prepared: Prepared,
}

impl Bench {
    /// Takes the card.
    ///
    /// # Errors
    /// See [`GpuError`].
    pub fn open(home: &Home, bundle: &str, ordinal: u32, setup: &CudaSetup) -> Result<Self, GpuError> {
        let found = cuda::look(home, ordinal)?;
        let bundle = Bundle::open(bundle, home)?;
        let prepared = cuda::prepare(&found, &bundle, home, setup)?;
        Ok(Self { bundle, prepared })
    }

    fn engine(&self) -> Result<CudaEngine<Card>, GpuError> {
        let mut engine = self.prepared.engine()?;
        engine.warm_up(&self.bundle.manifest, &selftest::sound_for(&self.bundle.manifest))?;
        Ok(engine)
    }

    /// Every kernel against its reference.
    ///
    /// # Errors
    /// See [`GpuError`].
    pub fn kernels(&self) -> Result<Findings, GpuError> {
        let mut findings = Findings::new();
        for checked in self.prepared.check_kernels(&selftest::signal(48_000, 16_000))? {
            let good = checked.apart <= KERNEL_BOUND;
            findings.add(good, &format!("kernel {}: {:.1e} apart (relative)", checked.kernel, checked.apart));
        }
        Ok(findings)
    }

    /// Features, decisions and embeddings of recordings, against the CPU's.
    ///
    /// # Errors
    /// See [`GpuError`].
    pub fn parity(&self, audio: &[PathBuf]) -> Result<Findings, GpuError> {
        let mut card = self.engine()?;
        let mut cpu = CpuEngine::load(self.prepared.environment(), &self.bundle)?;
        let (mut findings, mut compared) = (Findings::new(), 0);
        for path in audio {
            let samples = samples(path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let m = &self.bundle.manifest;
            let window = m.segmentation.window_samples as usize;
            if samples.len() < window {
                findings.note(&format!("{name}: shorter than a chunk, not compared"));
                continue;
            }
            self.features(&mut card, &samples, &name, &mut findings)?;
            self.decisions((&mut card, &mut cpu), &samples, &name, &mut findings)?;
            self.embeddings((&mut card, &mut cpu), &samples, &name, &mut findings)?;
            compared += 1;
        }
        findings.add(compared > 0, &format!("{compared} of {} recordings compared", audio.len()));
        Ok(findings)
    }

    fn features(
        &self,
        card: &mut CudaEngine<Card>,
        samples: &[f32],
        name: &str,
        findings: &mut Findings,
    ) -> Result<(), GpuError> {
        let m = &self.bundle.manifest;
        let Some(feature) = &m.embedding.feature else { return Ok(()) };
        let mut fbank = Fbank::new(feature, m.segmentation.sample_rate_hz);
        let (mut most, mut above, mut all) = (0f64, 0usize, 0usize);
        let window = m.segmentation.window_samples as usize;
        for rows in rows_of(samples, window, window).chunks(ROWS) {
            let (frames, bins) = (fbank.frames(window), fbank.bins());
            let (mut ours, mut theirs) = (Vec::new(), vec![0.0; rows.len() * frames * bins]);
            card.features(rows, (frames, bins), &mut ours)?;
            for (row, features) in rows.iter().zip(theirs.chunks_exact_mut(frames * bins)) {
                fbank.compute(row, features);
            }
            for (a, b) in ours.iter().zip(&theirs) {
                let apart = f64::from((a - b).abs());
                most = most.max(apart);
                above += usize::from(apart > FEATURE_BOUND);
                all += 1;
            }
        }
        // In bins that are empty next to others of their frame, both are rounding noise: one in ten thousand is let pass.
        let good = above * 10_000 <= all;
        findings.add(
            good,
            &format!("{name}: features at most {most:.1e} apart, {above} of {all} above {FEATURE_BOUND:.0e}"),
        );
        Ok(())
    }

    fn decisions(
        &self,
        (card, cpu): (&mut CudaEngine<Card>, &mut CpuEngine),
        samples: &[f32],
        name: &str,
        findings: &mut Findings,
    ) -> Result<(), GpuError> {
        let s = &self.bundle.manifest.segmentation;
        let powerset = Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize);
        let (mut same, mut all) = (0usize, 0usize);
        for rows in rows_of(samples, s.window_samples as usize, s.step_samples as usize).chunks(ROWS) {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            card.segment(rows, &mut ours)?;
            cpu.segment(rows, &mut theirs)?;
            let (mut a, mut b) = (Vec::new(), Vec::new());
            powerset.decode(&ours, &mut a);
            powerset.decode(&theirs, &mut b);
            same += a.iter().zip(&b).filter(|(a, b)| a == b).count();
            all += b.len();
        }
        let share = same as f64 / all.max(1) as f64;
        findings.add(
            share >= DECISION_BOUND,
            &format!("{name}: {:.4} % of {all} frames decided alike", 100.0 * share),
        );
        Ok(())
    }

    fn embeddings(
        &self,
        (card, cpu): (&mut CudaEngine<Card>, &mut CpuEngine),
        samples: &[f32],
        name: &str,
        findings: &mut Findings,
    ) -> Result<(), GpuError> {
        let m = &self.bundle.manifest;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let chunk = m.segmentation.window_samples as usize;
        let weights = vec![1.0; (m.segmentation.local_speakers * m.segmentation.frames) as usize];
        match &m.embedding.kind {
            EmbeddingKind::Windowed { window_samples, .. } => {
                let window = *window_samples as usize;
                for rows in rows_of(samples, window, window).chunks(ROWS) {
                    card.embed(rows, &mut ours)?;
                    cpu.embed(rows, &mut theirs)?;
                }
            }
            EmbeddingKind::FrameLevel { .. } => {
                for rows in rows_of(samples, chunk, chunk).chunks(ROWS) {
                    let weights = vec![weights.as_slice(); rows.len()];
                    card.embed_locals(rows, &weights, &mut ours)?;
                    cpu.embed_locals(rows, &weights, &mut theirs)?;
                }
            }
        }
        let dimension = m.embedding.dimension as usize;
        let pairs = ours.chunks_exact(dimension).zip(theirs.chunks_exact(dimension));
        let least = pairs.fold(1f64, |least, (a, b)| {
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            // A number that is none is the least, and stays it.
            if least.is_nan() || cosine >= least { least } else { cosine }
        });
        let count = theirs.len() / dimension;
        findings
            .add(least > COSINE_BOUND, &format!("{name}: smallest cosine of {count} embeddings {least:.7}"));
        Ok(())
    }

    /// Batches of every size, one after the other: memory that the card gives must not grow.
    ///
    /// # Errors
    /// See [`GpuError`].
    pub fn leaks(&self, batches: usize) -> Result<Findings, GpuError> {
        let mut engine = self.engine()?;
        let m = &self.bundle.manifest;
        let sound = selftest::sound_for(m);
        let chunk = &sound[..m.segmentation.window_samples as usize];
        let weights = vec![1.0; (m.segmentation.local_speakers * m.segmentation.frames) as usize];
        let mut out = Vec::new();
        let mut run = |batch: usize| -> Result<(), GpuError> {
            let rows = 1 + batch % self.prepared.limits().segmentation_rows_max;
            out.clear();
            engine.segment(&vec![chunk; rows], &mut out)?;
            out.clear();
            match &m.embedding.kind {
                EmbeddingKind::Windowed { window_samples, .. } => {
                    engine.embed(&vec![&sound[..*window_samples as usize]; rows], &mut out)?;
                }
                EmbeddingKind::FrameLevel { .. } => {
                    engine.embed_locals(&vec![chunk; rows], &vec![weights.as_slice(); rows], &mut out)?;
                }
            }
            Ok(())
        };
        // A first round, in which libraries below may still plan.
        (0..self.prepared.limits().segmentation_rows_max).try_for_each(&mut run)?;
        let (before, taken) = (self.prepared.gauges().gauges(), self.prepared.allocations());
        (0..batches).try_for_each(&mut run)?;
        let after = self.prepared.gauges().gauges();
        let each = (self.prepared.allocations() - taken) as f64 / (2 * batches.max(1)) as f64;
        let mut findings = Findings::new();
        let reserved = after.reserved_bytes == before.reserved_bytes;
        findings.add(
            reserved,
            &format!(
                "reserved {} bytes before, {} after {batches} batches of both networks",
                before.reserved_bytes, after.reserved_bytes
            ),
        );
        let flat = after.high_water_bytes == before.high_water_bytes;
        findings.add(
            flat,
            &format!("high water {} before, {} after", before.high_water_bytes, after.high_water_bytes),
        );
        let used = after.used_bytes == before.used_bytes;
        findings.add(
            used,
            &format!(
                "in use {} before, {} after; at most {} at once; taken from the pool {each:.1} times a run",
                before.used_bytes,
                after.used_bytes,
                self.prepared.used_max()
            ),
        );
        Ok(findings)
    }
}

/// Rows of a length at every step.
fn rows_of(samples: &[f32], length: usize, step: usize) -> Vec<&[f32]> {
    (0..)
        .map(|i| i * step)
        .take_while(|start| start + length <= samples.len())
        .map(|start| &samples[start..start + length])
        .collect()
}

/// The beginning of a recording, mono.
fn samples(path: &Path) -> Result<Vec<f32>, GpuError> {
    let refused = |detail: String| GpuError::Audio { path: path.display().to_string(), detail };
    let mut stream = AudioStream::open(path, &AudioLimits::default(), ChannelMode::Mix)
        .map_err(|error| refused(error.to_string()))?;
    let (mut block, mut samples) = (Vec::new(), Vec::new());
    while samples.len() < COMPARED_S * 16_000
        && stream.next_block(&mut block).map_err(|error| refused(error.to_string()))?
    {
        samples.extend_from_slice(&block[0]);
    }
    Ok(samples)
}
