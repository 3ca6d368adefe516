//! Finding the speakers from embeddings of local speakers: VBx as community-1, or linkage as pyannote's 3.1.

use common::model::manifest::{AhcParameters, VbxParameters};
use common::speech::assignment;

use super::groups::Groups;
use super::plda::Plda;
use super::vbx::{self, Features};
use super::{ahc, cosine, kmeans};
use crate::diarize::local_embeddings::LocalEmbeddings;
use crate::diarize::observations::Observations;
use crate::diarize::reconstruct::{Assignment, Speakers};
use crate::diarize::speaker_limits::SpeakerLimits;

/// How embeddings are clustered.
#[derive(Debug, Clone, Copy)]
pub enum Method<'a> {
    /// PLDA and variational Bayes.
    Vbx(&'a VbxParameters, &'a Plda),
    /// Centroid linkage.
    Ahc(&'a AhcParameters),
}

impl Method<'_> {
    fn clean_share_min(&self) -> f64 {
        match self {
            Self::Vbx(p, _) => p.clean_share_min,
            Self::Ahc(p) => p.clean_share_min,
        }
    }

    fn exact_max(&self) -> usize {
        match self {
            Self::Vbx(p, _) => p.exact_max as usize,
            Self::Ahc(p) => p.exact_max as usize,
        }
    }
}

/// Centroids, not normalised, and whether two local speakers of one chunk have to be different speakers.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    centroids: Vec<Vec<f64>>,
    apart: bool,
}

/// Finds the speakers of a recording and assigns every local speaker that was embedded. Nobody, when none was.
///
/// Only local speakers who speak alone for long enough train the clustering; with fewer than two of them, and where only
/// one speaker is allowed, everybody is one speaker.
#[must_use]
pub fn find_speakers(seen: &Observations, method: Method<'_>, limits: SpeakerLimits) -> Speakers {
    let locals = &seen.locals;
    if locals.is_empty() {
        return Speakers { centroids: Vec::new(), assignment: vec![vec![None; 8]; seen.activity.len()] };
    }
    let training = training(seen, method.clean_share_min());
    let found = if training.len() < 2 || limits.max() == 1 {
        let heard: Vec<usize> = if training.is_empty() { (0..locals.len()).collect() } else { training };
        Found { centroids: vec![mean(locals, &heard)], apart: false }
    } else {
        let groups = Groups::of(locals, &training, method.exact_max());
        match method {
            Method::Vbx(parameters, plda) => by_vbx(&groups, parameters, plda, limits),
            Method::Ahc(parameters) => {
                let labels = ahc::partition(&groups, parameters, limits);
                Found { centroids: groups.means_by_label(&groups.means, &labels), apart: false }
            }
        }
    };
    let assignment = assign(seen, &found);
    let centroids = found.centroids.iter().map(|centroid| unit(centroid)).collect();
    Speakers { centroids, assignment }
}

/// Local speakers who speak alone in at least `clean_share_min` of their chunk's frames.
#[must_use]
pub fn training(seen: &Observations, clean_share_min: f64) -> Vec<usize> {
    (0..seen.locals.len())
        .filter(|index| {
            let (chunk, local) = seen.locals.of(*index);
            let masks = &seen.activity[chunk];
            let alone = masks.iter().filter(|mask| **mask == 1 << local).count();
            alone as f64 >= clean_share_min * masks.len() as f64
        })
        .collect()
}

fn by_vbx(groups: &Groups, parameters: &VbxParameters, plda: &Plda, limits: SpeakerLimits) -> Found {
    let labels = groups.tree().cut(parameters.threshold);
    let values: Vec<f64> =
        groups.means.chunks_exact(groups.dimension()).flat_map(|mean| plda.feature(mean)).collect();
    let features = Features { values: &values, phi: plda.phi(), sizes: &groups.sizes };
    let posterior = vbx::run(features, &labels, parameters);
    let mut kept: Vec<usize> =
        (0..posterior.speakers).filter(|k| posterior.priors[*k] > parameters.prior_min).collect();
    if kept.is_empty() {
        kept = (0..posterior.speakers)
            .max_by(|a, b| posterior.priors[*a].total_cmp(&posterior.priors[*b]))
            .into_iter()
            .collect();
    }
    let wanted = limits.clamp(kept.len()).min(groups.len());
    if wanted != kept.len() {
        return by_kmeans(groups, wanted, parameters.kmeans_starts as usize);
    }
    let shares: Vec<f64> = posterior
        .responsibilities
        .chunks_exact(posterior.speakers)
        .flat_map(|row| kept.iter().map(|k| row[*k]))
        .collect();
    Found { centroids: groups.weighted_means(&groups.means, &shares, kept.len()), apart: true }
}

/// Where another number of speakers is asked for than was found: k-means on directions.
fn by_kmeans(groups: &Groups, wanted: usize, starts: usize) -> Found {
    let points: Vec<Vec<f64>> = groups
        .units
        .chunks_exact(groups.dimension())
        .map(|row| {
            let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            row.iter().map(|v| v / norm).collect()
        })
        .collect();
    let labels = kmeans::partition_weighted(&points, &groups.sizes, wanted, starts);
    // A cluster may have stayed empty where embeddings are equal.
    let labels = super::dense_labels(&labels);
    Found { centroids: groups.means_by_label(&groups.means, &labels), apart: false }
}

/// Who is who in each chunk: the best cosines, of different speakers where they have to be apart.
fn assign(seen: &Observations, found: &Found) -> Assignment {
    let mut assignment = vec![vec![None; 8]; seen.activity.len()];
    let k = found.centroids.len();
    for group in seen.locals.by_chunk() {
        let weights: Vec<f64> = group
            .clone()
            .flat_map(|index| {
                let embedding: Vec<f64> = seen.locals.get(index).iter().map(|v| f64::from(*v)).collect();
                found.centroids.iter().map(move |centroid| cosine(&embedding, centroid))
            })
            .collect();
        let chosen = if found.apart {
            assignment::maximise(&weights, group.len(), k)
        } else {
            weights.chunks_exact(k).map(best).collect()
        };
        for (index, speaker) in group.zip(chosen) {
            let (chunk, local) = seen.locals.of(index);
            assignment[chunk][local] = speaker;
        }
    }
    assignment
}

/// The largest of some values (ties: the first).
fn best(values: &[f64]) -> Option<usize> {
    let mut best = None;
    for (index, value) in values.iter().enumerate() {
        if best.is_none_or(|(_, largest)| *value > largest) {
            best = Some((index, *value));
        }
    }
    best.map(|(index, _)| index)
}

fn mean(locals: &LocalEmbeddings, members: &[usize]) -> Vec<f64> {
    let mut sum = vec![0.0; locals.dimension()];
    for member in members {
        sum.iter_mut().zip(locals.get(*member)).for_each(|(s, v)| *s += f64::from(*v));
    }
    sum.iter_mut().for_each(|s| *s /= members.len().max(1) as f64);
    sum
}

fn unit(vector: &[f64]) -> Vec<f32> {
    let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    vector.iter().map(|v| (v / norm) as f32).collect()
}

#[cfg(test)]
#[path = "by_local_speaker_tests.rs"]
mod tests;
