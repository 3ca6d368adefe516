//! Agglomerative clustering with centroid linkage, as pyannote's 3.1 does it.

use common::model::manifest::AhcParameters;

use super::dendrogram::Dendrogram;
use super::groups::Groups;
use super::{dense_labels, sizes_of};
use crate::diarize::geometry::round_half_even;
use crate::diarize::speaker_limits::SpeakerLimits;

/// A cluster is large from this part of all embeddings on (one in ten), if that is less than the manifest's number.
const LARGE_PART: u64 = 10;

/// A cluster for each group, dense.
///
/// 1. Cut at the threshold.
/// 2. A cluster is *large* with `min_cluster_size` members, or a tenth of all if that is less. When `limits` want another
///    number of large clusters, the tree is cut after another merge: the one of height nearest to the threshold that gives
///    that number, else the nearest number met on the way.
/// 3. Each small cluster joins the large one whose centroid has the best cosine; without a large one all are one.
#[must_use]
pub fn partition(groups: &Groups, parameters: &AhcParameters, limits: SpeakerLimits) -> Vec<usize> {
    if groups.len() < 2 {
        return vec![0; groups.len()];
    }
    let members = groups.sizes.iter().sum::<f64>() as u64;
    let tenth = round_half_even(members, LARGE_PART).max(1);
    let large = u64::from(parameters.min_cluster_size).min(tenth) as f64;
    let tree = groups.tree();
    let mut labels = tree.cut(parameters.threshold);
    let found = large_clusters(groups, &labels, large).len();
    let wanted = limits.clamp(found);
    if found != wanted {
        labels = recut(groups, &tree, parameters.threshold, large, wanted);
    }
    let kept = large_clusters(groups, &labels, large);
    if kept.is_empty() {
        return vec![0; groups.len()];
    }
    dense_labels(&join_small(groups, labels, &kept))
}

/// Clusters with at least `large` members.
fn large_clusters(groups: &Groups, labels: &[usize], large: f64) -> Vec<usize> {
    let sizes = sizes_of(labels, &groups.sizes);
    (0..sizes.len()).filter(|label| sizes[*label] >= large).collect()
}

/// The cut after some merge that gives `wanted` large clusters, or nearly.
fn recut(groups: &Groups, tree: &Dendrogram, threshold: f64, large: f64, wanted: usize) -> Vec<usize> {
    let merges = tree.merges();
    let mut order: Vec<usize> = (0..merges.len()).collect();
    let gap = |k: usize| (merges[k].height - threshold).abs();
    order.sort_by(|a, b| gap(*a).total_cmp(&gap(*b)));
    // What is taken when no merge does better: everything together.
    let mut best = (1usize.abs_diff(wanted), merges.len());
    for k in order {
        // A merge that makes no large cluster changes nothing.
        if merges[k].size < large {
            continue;
        }
        let found = large_clusters(groups, &tree.cut_after(k + 1), large).len();
        if found.abs_diff(wanted) < best.0 {
            best = (found.abs_diff(wanted), k + 1);
        }
        if best.0 == 0 {
            break;
        }
    }
    tree.cut_after(best.1)
}

fn join_small(groups: &Groups, mut labels: Vec<usize>, large: &[usize]) -> Vec<usize> {
    let centroids = groups.means_by_label(&groups.units, &labels);
    let nearest: Vec<usize> = (0..centroids.len())
        .map(|label| {
            let cosines = large.iter().map(|l| (*l, super::cosine(&centroids[label], &centroids[*l])));
            let best = cosines
                .fold((label, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best });
            if large.contains(&label) { label } else { best.0 }
        })
        .collect();
    labels.iter_mut().for_each(|label| *label = nearest[*label]);
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::local_embeddings::LocalEmbeddings;

    fn groups(angles: &[f32]) -> Groups {
        let mut locals = LocalEmbeddings::new(2);
        for (i, angle) in angles.iter().enumerate() {
            locals.push(i, 0, &[angle.cos(), angle.sin()]);
        }
        let members: Vec<usize> = (0..angles.len()).collect();
        Groups::of(&locals, &members, 1_000)
    }

    fn parameters(min_cluster_size: u32) -> AhcParameters {
        AhcParameters { threshold: 0.5, min_cluster_size, clean_share_min: 0.2, exact_max: 1_000 }
    }

    fn limits(min: usize, max: usize) -> SpeakerLimits {
        SpeakerLimits::new(min, max).expect("in bounds")
    }

    /// Thirty embeddings: fifteen around 0, twelve around 1.5, three around 3.
    fn thirty() -> Groups {
        let angle = |i: usize| [0.0, 1.5, 3.0][usize::from(i >= 15) + usize::from(i >= 27)];
        groups(&(0..30).map(|i| angle(i) + i as f32 * 1e-3).collect::<Vec<_>>())
    }

    #[test]
    fn small_clusters_join_the_nearest_large_one() {
        let free = SpeakerLimits::default();
        let labels = partition(&thirty(), &parameters(12), free);
        // A tenth of 30 is 3, so all three are large.
        assert_eq!(labels.iter().max(), Some(&2));
        let mut angles: Vec<f32> =
            (0..40).map(|i| if i < 20 { 0.0 } else { 1.5 } + i as f32 * 1e-3).collect();
        angles.extend([3.0, 3.01, 3.02]);
        let labels = partition(&groups(&angles), &parameters(12), free);
        assert_eq!(labels.iter().max(), Some(&1));
        assert!(labels[40..].iter().all(|l| *l == labels[30]), "three of 43 are too few");
    }

    #[test]
    fn limits_move_the_cut() {
        assert_eq!(partition(&thirty(), &parameters(12), limits(2, 2)).iter().max(), Some(&1));
        assert_eq!(partition(&thirty(), &parameters(12), limits(1, 1)).iter().max(), Some(&0));
        let four = partition(&thirty(), &parameters(12), limits(4, 4));
        assert_eq!(four.iter().max(), Some(&3), "one of the three is cut in two large halves");
    }

    #[test]
    fn few_embeddings() {
        assert_eq!(partition(&groups(&[]), &parameters(12), SpeakerLimits::default()), Vec::<usize>::new());
        assert_eq!(partition(&groups(&[1.0]), &parameters(12), SpeakerLimits::default()), [0]);
        // A tenth of two is nothing, so one member is enough.
        assert_eq!(partition(&groups(&[0.0, 1.5]), &parameters(12), SpeakerLimits::default()), [0, 1]);
    }
}
