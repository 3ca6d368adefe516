//! Finding the speakers: from local activity and embeddings to centroids, and who is who in each chunk.
//!
//! Embeddings of local speakers go to [`by_local_speaker`]. Those of windows go one of two ways, here. With enough clean
//! speech, spectral clustering of clean windows; of more than `windows_max` an even subsample is clustered, and every
//! local speaker of the recording is still assigned to one of the centroids found. A voice that fills less than about
//! four in `windows_max` of the clean speech of a long recording is missed: 10 s of an hour, 4 minutes of a day.
//! With less speech, average linkage of the clean windows at a threshold that the recording itself suggests: windows
//! are purer than local speakers, of which the network often gives one to two people in a short recording.

pub mod ahc;
pub mod by_local_speaker;
pub mod dendrogram;
pub mod groups;
pub mod kmeans;
pub mod laplacian;
pub mod linkage;
pub mod local_speakers;
pub mod neighbours;
pub mod plda;
pub mod spectral;
pub mod vbx;

use common::model::manifest::SpectralParameters;
use common::speech::assignment;

use self::local_speakers::{LocalSpeaker, LocalSpeakers};
use super::geometry::Geometry;
use super::observations::{Observations, dot, to_unit_length};
use super::reconstruct::Speakers;
use super::speaker_limits::SpeakerLimits;

/// Finds the speakers of a recording and assigns every local speaker. Nobody, when nothing was embedded.
///
/// `window` is in samples. Where only one voice can be told apart, but two people talk at once for long enough
/// (`overlap_s`), a second speaker without a voice of his own gets what overlaps.
#[must_use]
pub fn find_speakers(
    geometry: &Geometry,
    window: usize,
    seen: &Observations,
    overlap_s: f64,
    parameters: &SpectralParameters,
    limits: SpeakerLimits,
) -> Speakers {
    let p = parameters;
    let found =
        local_speakers::describe(geometry, window, seen, p.local_share_min, p.linkage.inside_share_min);
    if found.list.is_empty() {
        return Speakers::default();
    }
    let hop_s = seen.hop as f64 / f64::from(geometry.rate_hz);
    // Where windows of the grid do not overlap, those between them are where voices change: not for clustering.
    let is_on_grid = |index: usize| seen.hop < window || seen.windows[index].is_multiple_of(seen.hop);
    let clean: Vec<usize> = local_speakers::clean_shares(geometry, window, seen)
        .iter()
        .enumerate()
        .filter(|(index, share)| **share >= p.clean_share_min && is_on_grid(*index))
        .map(|(index, _)| index)
        .collect();
    let mut centroids = if clean.len() as f64 * hop_s >= p.spectral_clean_s_min {
        by_windows(seen, &clean, hop_s, p, limits)
    } else if clean.len() >= limits.min() {
        by_linkage(seen, &clean, &found, hop_s, p, limits)
    } else {
        by_local_speakers(seen.dimension(), &found, p, limits)
    };
    if centroids.len() == 1 && limits.max() > 1 && overlap_s >= p.second_speaker_s_min {
        centroids.push(vec![0.0; seen.dimension()]);
    }
    let assignment = assign(seen.activity.len(), &found.list, &centroids);
    Speakers { centroids, assignment }
}

fn by_windows(
    seen: &Observations,
    clean: &[usize],
    hop_s: f64,
    parameters: &SpectralParameters,
    limits: SpeakerLimits,
) -> Vec<Vec<f32>> {
    let max = parameters.windows_max as usize;
    let count = clean.len().min(max);
    let embeddings: Vec<f32> =
        (0..count).flat_map(|i| seen.embedding(clean[i * clean.len() / count])).copied().collect();
    let labels = spectral::cluster(&embeddings, seen.dimension(), hop_s, parameters, limits);
    centroids(&embeddings, seen.dimension(), &labels)
}

fn by_linkage(
    seen: &Observations,
    clean: &[usize],
    found: &LocalSpeakers,
    hop_s: f64,
    parameters: &SpectralParameters,
    limits: SpeakerLimits,
) -> Vec<Vec<f32>> {
    let threshold = linkage::threshold(found, &parameters.linkage, parameters.local_clean_s_min);
    let rows: Vec<Vec<f64>> =
        clean.iter().map(|w| seen.embedding(*w).iter().map(|v| f64::from(*v)).collect()).collect();
    let small = ((parameters.linkage.small_s / hop_s).round() as usize).max(2);
    let labels = linkage::average_linkage(&rows, threshold, small, limits);
    let kept = linkage::without_small(&labels, small, limits.min());
    let embeddings: Vec<f32> =
        kept.iter().flat_map(|(member, _)| seen.embedding(clean[*member])).copied().collect();
    let labels: Vec<usize> = kept.iter().map(|(_, label)| *label).collect();
    centroids(&embeddings, seen.dimension(), &dense_labels(&labels))
}

/// With fewer clean windows than speakers wanted: the local speakers that speak most, as they are.
fn by_local_speakers(
    dimension: usize,
    found: &LocalSpeakers,
    parameters: &SpectralParameters,
    limits: SpeakerLimits,
) -> Vec<Vec<f32>> {
    let threshold = linkage::threshold(found, &parameters.linkage, parameters.local_clean_s_min);
    let mut order: Vec<&LocalSpeaker> = found.list.iter().collect();
    // Most clean speech first; the sort is stable.
    order.sort_by(|a, b| b.clean_s.total_cmp(&a.clean_s));
    order.truncate(limits.min());
    order.sort_by_key(|l| (l.chunk, l.local));
    let rows: Vec<Vec<f64>> = order.iter().map(|l| l.embedding.clone()).collect();
    let labels = linkage::average_linkage(&rows, threshold, 1, limits);
    let flat: Vec<f32> = rows.iter().flatten().map(|v| *v as f32).collect();
    centroids(&flat, dimension, &labels)
}

/// Assigns the local speakers of each chunk to different speakers, so that the sum of cosines is largest.
fn assign(chunks: usize, list: &[LocalSpeaker], centroids: &[Vec<f32>]) -> Vec<Vec<Option<usize>>> {
    let mut assignment = vec![vec![None; 8]; chunks];
    for group in list.chunk_by(|a, b| a.chunk == b.chunk) {
        let weights: Vec<f64> = group
            .iter()
            .flat_map(|l| {
                let mut unit: Vec<f32> = l.embedding.iter().map(|v| *v as f32).collect();
                to_unit_length(&mut unit);
                centroids.iter().map(move |c| dot(&unit, c))
            })
            .collect();
        let chosen = assignment::maximise(&weights, group.len(), centroids.len());
        for (local, speaker) in group.iter().zip(chosen) {
            assignment[local.chunk][local.local] = speaker;
        }
    }
    assignment
}

/// Unit-length means of the members of each cluster.
fn centroids(embeddings: &[f32], dimension: usize, labels: &[usize]) -> Vec<Vec<f32>> {
    let clusters = labels.iter().max().map_or(0, |l| l + 1);
    let mut sums = vec![vec![0f64; dimension]; clusters];
    for (label, embedding) in labels.iter().zip(embeddings.chunks_exact(dimension)) {
        sums[*label].iter_mut().zip(embedding).for_each(|(s, e)| *s += f64::from(*e));
    }
    sums.into_iter()
        .map(|sum| {
            let norm = sum.iter().map(|s| s * s).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            sum.into_iter().map(|s| (s / norm) as f32).collect()
        })
        .collect()
}

/// The centroid with the largest cosine (ties: the lower index).
fn nearest(embedding: &[f32], centroids: &[Vec<f32>]) -> usize {
    let mut best = (f64::NEG_INFINITY, 0);
    for (i, centroid) in centroids.iter().enumerate() {
        let cosine = dot(embedding, centroid);
        if cosine > best.0 {
            best = (cosine, i);
        }
    }
    best.1
}

/// The same partition with labels `0..clusters`, in ascending order of the old ones.
fn dense_labels(labels: &[usize]) -> Vec<usize> {
    let mut used: Vec<usize> = labels.to_vec();
    used.sort_unstable();
    used.dedup();
    labels.iter().map(|l| used.binary_search(l).unwrap_or(0)).collect()
}

/// Members of each cluster, where each thing that has a label stands for `sizes` of them.
fn sizes_of(labels: &[usize], sizes: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; labels.iter().max().map_or(0, |l| l + 1)];
    labels.iter().zip(sizes).for_each(|(label, size)| sums[*label] += size);
    sums
}

/// The cosine of two vectors; 0 when one has no direction.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let norms = (inner(a, a) * inner(b, b)).sqrt();
    if norms > 0.0 { inner(a, b) / norms } else { 0.0 }
}
