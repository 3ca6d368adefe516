//! What a bundle's networks answer to a known signal: recorded when a bundle is built, checked before a worker takes
//! jobs on a device that might compute something else.

use std::fs;
use std::io;
use std::path::PathBuf;

use common::model::manifest::{self, EmbeddingKind, Manifest, SelfTest};

use crate::device::engine::{Engine, EngineError};
use crate::diarize::observations::{dot, to_unit_length};
use crate::diarize::powerset::Powerset;

/// Share of frames whose class may differ between devices.
const SEGMENTATION_TOLERANCE: f32 = 0.01;
/// Largest accepted `1 - cosine` between devices (contract: cosine above 0.9999 in full precision).
const EMBEDDING_TOLERANCE: f32 = 1e-4;

/// Why a self-test fails.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// A network did not run.
    #[error("the networks do not run")]
    Engine(#[from] EngineError),
    /// The bundle holds nothing to compare with.
    #[error("the bundle has no self-test vector")]
    NotRecorded,
    /// Too many frames got another class.
    #[error(
        "the segmentation network decides {different} of {frames} frames differently; at most {allowed} may differ"
    )]
    Segmentation {
        /// Frames that differ.
        different: usize,
        /// Frames in all.
        frames: usize,
        /// Frames that may.
        allowed: usize,
    },
    /// The embedding points elsewhere.
    #[error("the embedding differs: 1 - cosine is {distance:.2e}; at most {allowed:.0e} is accepted")]
    Embedding {
        /// `1 - cosine`.
        distance: f64,
        /// The tolerance.
        allowed: f32,
    },
    /// The manifest cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The test signal, in [-1, 1]: a voice-like pulse train that glides between two pitches and pauses, over faint noise.
/// Integer arithmetic decides it except for one sine, so that every machine makes the same one.
#[must_use]
pub fn signal(samples: usize, rate_hz: u32) -> Vec<f32> {
    let mut noise = 0x2545_F491u32;
    let mut phase = 0u64;
    (0..samples)
        .map(|i| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = (noise >> 16) as f32 / 65_536.0 - 0.5;
            let tenth = i * 10 / rate_hz as usize;
            // Two "speakers" in turn, 2.1 s each with 0.4 s of pause; pitches in millihertz.
            let pitch =
                if (tenth / 25).is_multiple_of(2) { 118_000 } else { 207_000 } + 400 * (tenth as u64 % 25);
            phase += pitch;
            let position = (phase % (1000 * u64::from(rate_hz))) as f32 / (1000.0 * rate_hz as f32);
            let pulse = (1.0 - position).powi(6) * (std::f32::consts::TAU * 7.0 * position).sin();
            let voiced = if tenth % 25 < 21 { 0.4 } else { 0.0 };
            voiced * pulse + 0.004 * hiss
        })
        .collect()
}

/// The test signal, as long as the longest row of a bundle.
#[must_use]
pub fn sound_for(manifest: &Manifest) -> Vec<f32> {
    let s = &manifest.segmentation;
    let window = match manifest.embedding.kind {
        EmbeddingKind::Windowed { window_samples, .. } => window_samples,
        EmbeddingKind::FrameLevel { .. } => 0,
    };
    signal(s.window_samples.max(window) as usize, s.sample_rate_hz)
}

/// What an engine answers now.
///
/// # Errors
/// See [`SelfTestError`].
pub fn measure(engine: &mut dyn Engine, manifest: &Manifest) -> Result<SelfTest, SelfTestError> {
    let s = &manifest.segmentation;
    let chunk = signal(s.window_samples as usize, s.sample_rate_hz);
    let powerset = Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize);
    let (mut scores, mut masks, mut embedding) = (Vec::new(), Vec::new(), Vec::new());
    engine.segment(&[&chunk], &mut scores)?;
    powerset.decode(&scores, &mut masks);
    match &manifest.embedding.kind {
        EmbeddingKind::Windowed { window_samples, .. } => {
            let window = selftest_window(&chunk, *window_samples as usize, s.sample_rate_hz);
            engine.embed(&[&window], &mut embedding)?;
        }
        EmbeddingKind::FrameLevel { .. } => {
            // The first local speaker has the chunk to itself.
            let mut weights = vec![0.0; (s.local_speakers * s.frames) as usize];
            weights[..s.frames as usize].fill(1.0);
            engine.embed_locals(&[&chunk], &[&weights], &mut embedding)?;
            embedding.truncate(manifest.embedding.dimension as usize);
        }
    }
    to_unit_length(&mut embedding);
    let mut classes: Vec<[u32; 2]> = Vec::new();
    for mask in masks {
        let class = powerset.class_of(mask).map_or(u32::MAX, |c| c as u32);
        match classes.last_mut() {
            Some([last, frames]) if *last == class => *frames += 1,
            _ => classes.push([class, 1]),
        }
    }
    Ok(SelfTest {
        segmentation_classes: classes,
        segmentation_tolerance: SEGMENTATION_TOLERANCE,
        embedding,
        embedding_tolerance: EMBEDDING_TOLERANCE,
    })
}

/// Holds what an engine answers against what the bundle recorded.
///
/// # Errors
/// See [`SelfTestError`].
pub fn check(engine: &mut dyn Engine, manifest: &Manifest) -> Result<(), SelfTestError> {
    let expected = manifest.selftest.as_ref().ok_or(SelfTestError::NotRecorded)?;
    compare(expected, &measure(engine, manifest)?)
}

/// The signal's first samples; more of it when a window is longer than a chunk.
fn selftest_window(chunk: &[f32], samples: usize, rate_hz: u32) -> Vec<f32> {
    chunk.get(..samples).map_or_else(|| signal(samples, rate_hz), <[f32]>::to_vec)
}

fn compare(expected: &SelfTest, found: &SelfTest) -> Result<(), SelfTestError> {
    let frames = |test: &SelfTest| -> Vec<u32> {
        test.segmentation_classes
            .iter()
            .flat_map(|[class, n]| std::iter::repeat_n(*class, *n as usize))
            .collect()
    };
    let (a, b) = (frames(expected), frames(found));
    let different = a.iter().zip(&b).filter(|(x, y)| x != y).count() + a.len().abs_diff(b.len());
    let allowed = (f64::from(expected.segmentation_tolerance) * a.len() as f64) as usize;
    if different > allowed {
        return Err(SelfTestError::Segmentation { different, frames: a.len(), allowed });
    }
    let distance = 1.0 - dot(&expected.embedding, &found.embedding);
    // Written so that NaN fails.
    if expected.embedding.len() == found.embedding.len()
        && distance <= f64::from(expected.embedding_tolerance)
    {
        return Ok(());
    }
    Err(SelfTestError::Embedding { distance, allowed: expected.embedding_tolerance })
}

/// Writes a measurement into the bundle's manifest.
///
/// # Errors
/// [`SelfTestError::Write`].
pub fn record(dir: &std::path::Path, mut manifest: Manifest, test: SelfTest) -> Result<(), SelfTestError> {
    manifest.selftest = Some(test);
    let path = dir.join(manifest::FILE_NAME);
    let partial = dir.join("manifest.json.partial");
    fs::write(&partial, manifest.to_json())
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(|source| SelfTestError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> SelfTest {
        SelfTest {
            segmentation_classes: vec![[0, 100], [1, 400], [2, 89]],
            segmentation_tolerance: 0.01,
            embedding: vec![0.6, 0.8],
            embedding_tolerance: 1e-4,
        }
    }

    #[test]
    fn small_differences_pass_and_large_ones_do_not() {
        assert!(compare(&vector(), &vector()).is_ok());
        let shifted =
            |n: u32| SelfTest { segmentation_classes: vec![[0, 100 + n], [1, 400 - n], [2, 89]], ..vector() };
        assert!(compare(&vector(), &shifted(5)).is_ok());
        assert!(matches!(
            compare(&vector(), &shifted(6)),
            Err(SelfTestError::Segmentation { different: 6, .. })
        ));
        for embedding in [vec![0.8, 0.6], vec![f32::NAN, 0.8], vec![0.6]] {
            let other = SelfTest { embedding, ..vector() };
            assert!(matches!(compare(&vector(), &other), Err(SelfTestError::Embedding { .. })));
        }
    }

    #[test]
    fn the_signal_is_finite_and_has_speech_and_pauses() {
        let signal = signal(160_000, 16_000);
        let energy = |range: std::ops::Range<usize>| signal[range].iter().map(|s| s * s).sum::<f32>();
        assert!(signal.iter().all(|s| s.is_finite() && s.abs() <= 1.0));
        assert!(energy(0..16_000) > 100.0 * energy(34_000..39_000));
    }
}
