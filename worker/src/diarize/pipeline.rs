//! A bundle's way from observations to turns.

use common::model::manifest::{Clustering, EmbeddingKind, Manifest, SpectralParameters};
use common::speech::diarization::{Diarization, Turn};
use common::speech::time::Seconds;

use super::cluster;
use super::geometry::Geometry;
use super::observations::Observations;
use super::powerset::Powerset;
use super::reconstruct::reconstruct;
use super::speaker_count::speaker_count;
use super::speaker_limits::SpeakerLimits;
use super::windows::{Grids, WindowPlan};

/// Everything that the manifest decides about a recording's way, worked out once.
#[derive(Debug, Clone)]
pub struct Pipeline {
    geometry: Geometry,
    powerset: Powerset,
    grids: Grids,
    dimension: usize,
    spectral: SpectralParameters,
}

/// Who spoke when, and what each speaker sounds like.
#[derive(Debug, Clone, PartialEq)]
pub struct Diarized {
    /// The turns.
    pub diarization: Diarization,
    /// Unit-length centroids, by the speaker index before renumbering ([`Diarization::renumbered`]).
    pub centroids: Vec<Vec<f32>>,
}

/// A bundle that this engine cannot follow.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The combination of embedding and clustering is not known.
    #[error("bundle `{bundle}` combines an embedding and a clustering that this version cannot run")]
    Unsupported {
        /// The bundle's name.
        bundle: String,
    },
}

impl Pipeline {
    /// The way a manifest describes.
    ///
    /// # Errors
    /// [`PipelineError::Unsupported`].
    pub fn new(manifest: &Manifest) -> Result<Self, PipelineError> {
        let (EmbeddingKind::Windowed { window_samples, hop_samples, .. }, Clustering::Spectral(spectral)) =
            (&manifest.embedding.kind, &manifest.clustering)
        else {
            return Err(PipelineError::Unsupported { bundle: manifest.name.clone() });
        };
        let s = &manifest.segmentation;
        Ok(Self {
            geometry: Geometry::from(s),
            powerset: Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize),
            grids: Grids {
                window: *window_samples as usize,
                hop: *hop_samples as usize,
                short_hop: spectral.short_hop_samples as usize,
                short_max: (spectral.short_s * f64::from(s.sample_rate_hz)) as usize,
                fine_max: (spectral.fine_s * f64::from(s.sample_rate_hz)) as usize,
                agreement: spectral.agreement_cosine,
            },
            dimension: manifest.embedding.dimension as usize,
            spectral: spectral.clone(),
        })
    }

    /// Where chunks and frames lie.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What the segmentation network's classes mean.
    #[must_use]
    pub fn powerset(&self) -> &Powerset {
        &self.powerset
    }

    /// Length of one embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// A fresh plan of windows for one recording.
    #[must_use]
    pub fn window_plan(&self) -> WindowPlan {
        WindowPlan::new(self.grids)
    }

    /// Finds the speakers and their turns.
    ///
    /// # Panics
    /// Only on a defect: the turns this makes are sorted and not empty by construction.
    #[must_use]
    pub fn diarize(&self, seen: &Observations, limits: SpeakerLimits) -> Diarized {
        let count = speaker_count(&self.geometry, &seen.activity);
        let together = count.iter().filter(|n| **n > 1).count() * self.geometry.frame_step;
        let overlap_s = together as f64 / f64::from(self.geometry.rate_hz);
        let window = self.grids.window;
        let speakers =
            cluster::find_speakers(&self.geometry, window, seen, overlap_s, &self.spectral, limits);
        let weight = self.spectral.cosine_weight.into();
        let timeline = reconstruct(&self.geometry, window, seen, &speakers, &count, weight);
        let end = Seconds::of_samples(seen.samples as u64, self.geometry.rate_hz);
        let diarization = Diarization::new(clip(timeline.turns, end), clip(timeline.exclusive, end))
            .expect("reconstruction gives turns that are in order");
        Diarized { diarization, centroids: speakers.centroids }
    }
}

/// Ends turns at the end of the recording, which the middle of the last frame may lie behind.
fn clip(turns: Vec<Turn>, end: Seconds) -> Vec<Turn> {
    turns
        .into_iter()
        .map(|turn| Turn { end: if turn.end > end { end } else { turn.end }, ..turn })
        .filter(|turn| turn.end > turn.start)
        .collect()
}
