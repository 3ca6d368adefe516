//! Spectral clustering of windows (von Luxburg, "A tutorial on spectral clustering", 2007; unnormalised Laplacian, number
//! of clusters from the largest eigengap).

use common::model::manifest::SpectralParameters;

use super::laplacian::lowest;
use super::neighbours::Graph;
use super::{centroids, dense_labels, kmeans, nearest};
use crate::diarize::speaker_limits::SpeakerLimits;

/// Neighbours that a window keeps at least, itself among them: fewer fall apart into cliques.
const NEIGHBOURS_MIN: usize = 5;

/// Clusters unit-length embeddings (`[n, dimension]`, row-major) of windows `hop_s` apart; a label for each, dense.
///
/// 1. Each window keeps its most similar ones.
/// 2. `k` is the position of the largest gap between the lowest eigenvalues of the graph's Laplacian, among those that
///    `limits` allow.
/// 3. k-means on the first `k` eigenvectors.
/// 4. Clusters of too little speech are dissolved into the nearest others.
/// 5. Clusters whose centroids are too similar are joined, most similar first.
#[must_use]
pub fn cluster(
    embeddings: &[f32],
    dimension: usize,
    hop_s: f64,
    parameters: &SpectralParameters,
    limits: SpeakerLimits,
) -> Vec<usize> {
    let n = embeddings.len() / dimension;
    if n == 0 {
        return Vec::new();
    }
    let p = parameters;
    let share = (p.neighbours_share * n as f64).ceil() as usize;
    let keep = share.max((p.neighbours_s_min / hop_s).round() as usize).max(NEIGHBOURS_MIN).min(n);
    let graph = Graph::of_cosines(embeddings, dimension, keep);
    // Without a wish, up to `speakers_max`; a wish may ask for more, and never gets more than it allows.
    let most = (p.speakers_max as usize).max(limits.min()).min(limits.max());
    let pairs = lowest(&graph, most + 1);
    let values: Vec<f64> = pairs.iter().map(|pair| pair.value).collect();
    let k = speakers_by_eigengap(&values, limits.min().min(n), most).min(n);
    let labels = if k == 1 {
        vec![0; n]
    } else {
        let rows: Vec<Vec<f64>> =
            (0..n).map(|i| pairs[..k].iter().map(|pair| pair.vector[i]).collect()).collect();
        dense_labels(&kmeans::partition(&rows, k, p.kmeans_starts as usize))
    };
    let small = ((p.small_s / hop_s).round() as usize).max(2);
    let labels = dissolve_small(embeddings, dimension, labels, small, limits.min());
    join_similar(embeddings, dimension, labels, p.merge_cosine, limits.min())
}

/// `1 +` the index of the largest gap between consecutive values, among gaps that give `min..=max` (ties: the lower).
fn speakers_by_eigengap(values: &[f64], min: usize, max: usize) -> usize {
    let mut best = (f64::NEG_INFINITY, min);
    for k in min..=max.min(values.len().saturating_sub(1)) {
        let gap = values[k] - values[k - 1];
        if gap > best.0 {
            best = (gap, k);
        }
    }
    best.1.max(1)
}

/// Moves the members of clusters with fewer than `small` members to the nearest larger one, each for itself. With no
/// larger one everything is one cluster; nothing happens when fewer than `min` would be left.
fn dissolve_small(
    embeddings: &[f32],
    dimension: usize,
    labels: Vec<usize>,
    small: usize,
    min: usize,
) -> Vec<usize> {
    let clusters = labels.iter().max().map_or(0, |l| l + 1);
    let mut sizes = vec![0usize; clusters];
    labels.iter().for_each(|l| sizes[*l] += 1);
    let large: Vec<usize> = (0..clusters).filter(|l| sizes[*l] >= small).collect();
    if large.is_empty() && min <= 1 {
        return vec![0; labels.len()];
    }
    if large.len() == clusters || large.len() < min {
        return labels;
    }
    let all = centroids(embeddings, dimension, &labels);
    let kept: Vec<Vec<f32>> = large.iter().map(|l| all[*l].clone()).collect();
    let moved: Vec<usize> = labels
        .iter()
        .zip(embeddings.chunks_exact(dimension))
        .map(|(label, e)| if large.contains(label) { *label } else { large[nearest(e, &kept)] })
        .collect();
    dense_labels(&moved)
}

/// Joins the two clusters with the most similar centroids while their cosine is at least `merge` and more than `min`
/// clusters are left (ties: the lowest indices).
fn join_similar(
    embeddings: &[f32],
    dimension: usize,
    mut labels: Vec<usize>,
    merge: f64,
    min: usize,
) -> Vec<usize> {
    loop {
        let centres = centroids(embeddings, dimension, &labels);
        if centres.len() <= min.max(1) {
            return labels;
        }
        let mut best = (f64::NEG_INFINITY, 0, 0);
        for i in 0..centres.len() {
            for j in i + 1..centres.len() {
                let cosine = crate::diarize::observations::dot(&centres[i], &centres[j]);
                if cosine > best.0 {
                    best = (cosine, i, j);
                }
            }
        }
        if best.0 < merge {
            return labels;
        }
        labels.iter_mut().filter(|l| **l == best.2).for_each(|l| *l = best.1);
        labels = dense_labels(&labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_gap_within_the_limits_wins() {
        let values = [0.0, 0.1, 0.2, 5.0, 5.1, 9.0];
        assert_eq!(speakers_by_eigengap(&values, 1, 5), 3);
        assert_eq!(speakers_by_eigengap(&values, 4, 5), 5);
        assert_eq!(speakers_by_eigengap(&values, 1, 2), 1, "equal gaps: fewer speakers");
        assert_eq!(speakers_by_eigengap(&values, 2, 2), 2);
        assert_eq!(speakers_by_eigengap(&[0.0], 1, 15), 1);
    }

    #[test]
    fn small_clusters_dissolve_and_similar_ones_join() {
        let points = [[1.0f32, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.8, 0.6]].concat();
        assert_eq!(dissolve_small(&points, 2, vec![0, 0, 1, 1, 2], 2, 1), [0, 0, 1, 1, 0]);
        assert_eq!(dissolve_small(&points, 2, vec![0, 0, 1, 1, 2], 2, 3), [0, 0, 1, 1, 2]);
        assert_eq!(dissolve_small(&points, 2, vec![0, 1, 2, 3, 4], 2, 1), [0; 5]);
        assert_eq!(join_similar(&points, 2, vec![0, 0, 1, 1, 2], 0.75, 1), [0, 0, 1, 1, 0]);
        assert_eq!(join_similar(&points, 2, vec![0, 0, 1, 1, 2], 0.75, 3), [0, 0, 1, 1, 2]);
    }
}
