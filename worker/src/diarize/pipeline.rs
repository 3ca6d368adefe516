//! A bundle's way from observations to turns.

use std::sync::Arc;

use common::model::manifest::{
    AhcParameters, Clustering, Embedding, EmbeddingKind, Feature, Manifest, SpectralParameters, Tail,
    TrunkSpan, VbxParameters,
};
use common::speech::diarization::{Diarization, Turn};
use common::speech::time::Seconds;

use super::cluster;
use super::cluster::by_local_speaker::{self, Method};
use super::cluster::plda::Plda;
use super::geometry::Geometry;
use super::observations::Observations;
use super::powerset::Powerset;
use super::reconstruct::{Timeline, reconstruct};
use super::speaker_count::speaker_count;
use super::speaker_limits::SpeakerLimits;
use super::votes;
use super::windows::{Grids, WindowPlan};

/// Everything that the manifest decides about a recording's way, worked out once.
#[derive(Debug, Clone)]
pub struct Pipeline {
    geometry: Geometry,
    powerset: Powerset,
    tail: Tail,
    dimension: usize,
    way: Way,
}

/// What is embedded, and how that becomes speakers.
#[derive(Debug, Clone)]
enum Way {
    Windows { grids: Grids, spectral: SpectralParameters },
    Locals { plan: LocalPlan, clustering: LocalClustering },
}

#[derive(Debug, Clone)]
enum LocalClustering {
    Vbx(VbxParameters, Arc<Plda>),
    Ahc(AhcParameters),
}

/// What the embedding network is given.
#[derive(Debug, Clone)]
pub enum EmbeddingPlan {
    /// Windows.
    Windows(WindowPlan),
    /// Chunks, and who speaks when in them.
    Locals(LocalPlan),
}

/// How local speakers are embedded.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalPlan {
    /// The trunk's input.
    pub feature: Feature,
    /// Frames in which a local speaker has to be alone for the others not to count.
    pub clean_frames_min: usize,
    /// Local speakers that the segmentation network tells apart.
    pub local_speakers: usize,
    /// What the trunk runs over.
    pub span: TrunkSpan,
    /// Steps of the trunk in one chunk.
    pub trunk_steps: usize,
    /// Channels of the trunk.
    pub trunk_channels: usize,
    /// Feature frames between two steps.
    pub step_frames: usize,
    /// Feature frames on either side of a step that change it.
    pub context_frames: usize,
}

/// Who spoke when, and what each speaker sounds like.
#[derive(Debug, Clone, PartialEq)]
pub struct Diarized {
    /// The turns.
    pub diarization: Diarization,
    /// Unit-length centroids, by the speaker index before renumbering ([`Diarization::renumbered`]).
    pub centroids: Vec<Vec<f32>>,
}

impl Diarized {
    /// The centroids by label: of the first speaker, of the second, and so on.
    #[must_use]
    pub fn in_label_order(&self) -> Vec<Vec<f32>> {
        let mut ordered = vec![Vec::new(); self.diarization.speakers()];
        for (old, centroid) in self.centroids.iter().enumerate() {
            if let Some(new) = self.diarization.renumbered(old) {
                ordered[new].clone_from(centroid);
            }
        }
        ordered
    }
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
    /// Its PLDA takes embeddings of another length.
    #[error("bundle `{bundle}` has embeddings of length {embedding} and a PLDA for length {plda}")]
    Plda {
        /// The bundle's name.
        bundle: String,
        /// Length of its embeddings.
        embedding: u32,
        /// What its PLDA takes; 0 when there is none.
        plda: usize,
    },
}

impl Pipeline {
    /// The way a manifest describes; `plda` is what its clustering names, if it names one.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub fn new(manifest: &Manifest, plda: Option<Arc<Plda>>) -> Result<Self, PipelineError> {
        let s = &manifest.segmentation;
        Ok(Self {
            geometry: Geometry::from(s),
            powerset: Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize),
            tail: s.tail,
            dimension: manifest.embedding.dimension as usize,
            way: way(manifest, plda)?,
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

    /// What is done about a last chunk that the recording does not fill.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// A fresh plan of what to embed in one recording.
    #[must_use]
    pub fn embedding_plan(&self) -> EmbeddingPlan {
        match &self.way {
            Way::Windows { grids, .. } => EmbeddingPlan::Windows(WindowPlan::new(*grids)),
            Way::Locals { plan, .. } => EmbeddingPlan::Locals(plan.clone()),
        }
    }

    /// Finds the speakers and their turns.
    ///
    /// # Panics
    /// Only on a defect: the turns this makes are sorted and not empty by construction.
    #[must_use]
    pub fn diarize(&self, seen: &Observations, limits: SpeakerLimits) -> Diarized {
        let (timeline, mut centroids) = match &self.way {
            Way::Windows { grids, spectral } => self.by_windows(seen, grids.window, spectral, limits),
            Way::Locals { clustering, .. } => self.by_locals(seen, clustering, limits),
        };
        // Speakers without a voice of their own come last.
        let speakers = timeline.turns.iter().map(|turn| turn.speaker + 1).max().unwrap_or(0);
        centroids.resize(centroids.len().max(speakers), vec![0.0; self.dimension]);
        let end = Seconds::of_samples(seen.samples as u64, self.geometry.rate_hz);
        let diarization = Diarization::new(clip(timeline.turns, end), clip(timeline.exclusive, end))
            .expect("reconstruction gives turns that are in order");
        Diarized { diarization, centroids }
    }

    fn by_windows(
        &self,
        seen: &Observations,
        window: usize,
        spectral: &SpectralParameters,
        limits: SpeakerLimits,
    ) -> (Timeline, Vec<Vec<f32>>) {
        let count = speaker_count(&self.geometry, &seen.activity);
        let together = count.iter().filter(|n| **n > 1).count() * self.geometry.frame_step;
        let overlap_s = together as f64 / f64::from(self.geometry.rate_hz);
        let speakers = cluster::find_speakers(&self.geometry, window, seen, overlap_s, spectral, limits);
        let weight = spectral.cosine_weight.into();
        let timeline = reconstruct(&self.geometry, window, seen, &speakers, &count, weight);
        (timeline, speakers.centroids)
    }

    fn by_locals(
        &self,
        seen: &Observations,
        clustering: &LocalClustering,
        limits: SpeakerLimits,
    ) -> (Timeline, Vec<Vec<f32>>) {
        let mut count = speaker_count(&self.geometry, &seen.activity);
        let most = u8::try_from(limits.max()).unwrap_or(u8::MAX);
        count.iter_mut().for_each(|n| *n = (*n).min(most));
        let method = match clustering {
            LocalClustering::Vbx(parameters, plda) => Method::Vbx(parameters, plda),
            LocalClustering::Ahc(parameters) => Method::Ahc(parameters),
        };
        let speakers = by_local_speaker::find_speakers(seen, method, limits);
        let timeline = votes::timeline(&self.geometry, seen, &speakers, &count);
        (timeline, speakers.centroids)
    }
}

fn way(manifest: &Manifest, plda: Option<Arc<Plda>>) -> Result<Way, PipelineError> {
    let s = &manifest.segmentation;
    let unsupported = || PipelineError::Unsupported { bundle: manifest.name.clone() };
    match (&manifest.embedding.kind, &manifest.clustering) {
        (EmbeddingKind::Windowed { window_samples, hop_samples, .. }, Clustering::Spectral(spectral)) => {
            let grids = Grids {
                window: *window_samples as usize,
                hop: *hop_samples as usize,
                short_hop: spectral.short_hop_samples as usize,
                short_max: (spectral.short_s * f64::from(s.sample_rate_hz)) as usize,
                fine_max: (spectral.fine_s * f64::from(s.sample_rate_hz)) as usize,
                agreement: spectral.agreement_cosine,
            };
            Ok(Way::Windows { grids, spectral: spectral.clone() })
        }
        (EmbeddingKind::FrameLevel { .. }, clustering) => {
            let plan = local_plan(&manifest.embedding, s.local_speakers as usize).ok_or_else(unsupported)?;
            let clustering = match clustering {
                Clustering::Vbx(parameters) => {
                    let wanted = manifest.embedding.dimension;
                    let found = plda.as_ref().map_or(0, |plda| plda.dimension());
                    let plda = plda.filter(|_| found == wanted as usize).ok_or_else(|| {
                        PipelineError::Plda { bundle: manifest.name.clone(), embedding: wanted, plda: found }
                    })?;
                    LocalClustering::Vbx(parameters.clone(), plda)
                }
                Clustering::Ahc(parameters) => LocalClustering::Ahc(parameters.clone()),
                Clustering::Spectral(_) => return Err(unsupported()),
            };
            Ok(Way::Locals { plan, clustering })
        }
        _ => Err(unsupported()),
    }
}

fn local_plan(embedding: &Embedding, local_speakers: usize) -> Option<LocalPlan> {
    let EmbeddingKind::FrameLevel {
        trunk_channels,
        trunk_steps,
        step_frames,
        context_frames,
        clean_frames_min,
        span,
        ..
    } = &embedding.kind
    else {
        return None;
    };
    Some(LocalPlan {
        feature: embedding.feature.clone()?,
        clean_frames_min: *clean_frames_min as usize,
        local_speakers,
        span: *span,
        trunk_steps: *trunk_steps as usize,
        trunk_channels: *trunk_channels as usize,
        step_frames: *step_frames as usize,
        context_frames: *context_frames as usize,
    })
}

/// Ends turns at the end of the recording, which the middle of the last frame may lie behind.
fn clip(turns: Vec<Turn>, end: Seconds) -> Vec<Turn> {
    turns
        .into_iter()
        .map(|turn| Turn { end: if turn.end > end { end } else { turn.end }, ..turn })
        .filter(|turn| turn.end > turn.start)
        .collect()
}
