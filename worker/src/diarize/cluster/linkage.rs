//! Average linkage, for recordings too short for a graph.

use common::model::manifest::LinkageParameters;

use super::local_speakers::LocalSpeakers;
use crate::diarize::speaker_limits::SpeakerLimits;

/// The similarity at which two clusters are one voice.
///
/// Between the level at which this recording shows different voices (local speakers of one chunk, each alone for at
/// least `clean_s_min`) and the level at which it shows one voice (windows inside one local speaker).
#[must_use]
pub fn threshold(found: &LocalSpeakers, parameters: &LinkageParameters, clean_s_min: f64) -> f64 {
    let p = parameters;
    let inside =
        (found.inside_sum + p.inside_count * p.inside_prior) / (found.inside_pairs as f64 + p.inside_count);
    let (mut sum, mut pairs) = (0.0, 0usize);
    for (n, a) in found.list.iter().enumerate() {
        for b in found.list[n + 1..].iter().take_while(|b| b.chunk == a.chunk) {
            if a.clean_s.min(b.clean_s) >= clean_s_min {
                sum += inner(&a.embedding, &b.embedding);
                pairs += 1;
            }
        }
    }
    let outside = (sum + p.outside_count * p.outside_prior) / (pairs as f64 + p.outside_count);
    outside + p.balance * (inside - outside)
}

/// Merges the most similar pair of clusters (mean similarity of their members; ties: the lowest indices) while it is at
/// least `threshold`. Returns a cluster for each row, numbered by first member.
///
/// Only clusters of at least `small` members count for `limits`: an outlier alone does not take the place of a speaker.
/// While more than `limits.max()` of them are left, merging goes on below the threshold; a merge that would leave fewer
/// than `limits.min()` is refused.
///
/// O(n³) time at worst, O(n²) memory: callers bound `rows`.
#[must_use]
pub fn average_linkage(rows: &[Vec<f64>], threshold: f64, small: usize, limits: SpeakerLimits) -> Vec<usize> {
    let n = rows.len();
    let mut similarity: Vec<Vec<f64>> =
        rows.iter().map(|a| rows.iter().map(|b| inner(a, b)).collect()).collect();
    let mut sizes = vec![1usize; n];
    let mut label: Vec<usize> = (0..n).collect();
    let mut alive: Vec<usize> = (0..n).collect();
    loop {
        let large = alive.iter().filter(|i| sizes[**i] >= small).count();
        let Some((value, i, j)) = most_similar(&similarity, &alive) else { break };
        if value < threshold && large <= limits.max() {
            break;
        }
        if sizes[i] >= small && sizes[j] >= small && large <= limits.min() {
            // Stays refused: the mean with a refused pair is refused, too.
            similarity[i][j] = f64::NEG_INFINITY;
            similarity[j][i] = f64::NEG_INFINITY;
            continue;
        }
        let (a, b) = (sizes[i] as f64, sizes[j] as f64);
        for &other in &alive {
            let merged = (a * similarity[i][other] + b * similarity[j][other]) / (a + b);
            similarity[i][other] = merged;
            similarity[other][i] = merged;
        }
        sizes[i] += sizes[j];
        alive.retain(|k| *k != j);
        label.iter_mut().filter(|l| **l == j).for_each(|l| *l = i);
    }
    super::dense_labels(&label)
}

/// The most similar pair that is not refused.
fn most_similar(similarity: &[Vec<f64>], alive: &[usize]) -> Option<(f64, usize, usize)> {
    let mut best = None;
    for (x, &i) in alive.iter().enumerate() {
        for &j in &alive[x + 1..] {
            if similarity[i][j] > best.map_or(f64::NEG_INFINITY, |(value, _, _)| value) {
                best = Some((similarity[i][j], i, j));
            }
        }
    }
    best
}

/// Members (index, label) of clusters with at least `small` members. When all clusters are smaller, the largest size
/// there is is the bar; when fewer than `min` would be left, the `min` largest stay (ties: the lower label).
#[must_use]
pub fn without_small(labels: &[usize], small: usize, min: usize) -> Vec<(usize, usize)> {
    let clusters = labels.iter().max().map_or(0, |l| l + 1);
    let mut sizes = vec![0usize; clusters];
    labels.iter().for_each(|l| sizes[*l] += 1);
    let bar = small.min(sizes.iter().copied().max().unwrap_or(0));
    let mut large: Vec<usize> = (0..clusters).filter(|l| sizes[*l] >= bar).collect();
    if large.len() < min {
        large = (0..clusters).collect();
        large.sort_by_key(|l| std::cmp::Reverse(sizes[*l]));
        large.truncate(min);
    }
    labels.iter().copied().enumerate().filter(|(_, label)| large.contains(label)).collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<f64>> {
        vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![0.98, 0.199], vec![0.6, 0.8]]
    }

    #[test]
    fn merges_down_to_the_threshold() {
        let free = SpeakerLimits::default();
        assert_eq!(average_linkage(&rows(), 0.9, 1, free), [0, 1, 0, 2]);
        // 1 and 3 have similarity 0.8; the mean of 0 and 2 against 3 is about 0.67.
        assert_eq!(average_linkage(&rows(), 0.75, 1, free), [0, 1, 0, 1]);
        assert_eq!(average_linkage(&rows(), -1.0, 1, free), [0, 0, 0, 0]);
        assert!(average_linkage(&[], 0.5, 1, free).is_empty());
    }

    #[test]
    fn small_clusters_are_dropped_unless_all_are_small_or_wanted() {
        let labels = [0, 0, 0, 1, 2, 2];
        let kept =
            |small, min| without_small(&labels, small, min).iter().map(|(i, _)| *i).collect::<Vec<_>>();
        assert_eq!(kept(2, 1), [0, 1, 2, 4, 5]);
        assert_eq!(kept(9, 1), [0, 1, 2], "the largest is the bar");
        assert_eq!(kept(9, 2), [0, 1, 2, 4, 5]);
        assert_eq!(kept(2, 3), [0, 1, 2, 3, 4, 5]);
        assert!(without_small(&[], 2, 1).is_empty());
    }

    #[test]
    fn limits_overrule_the_threshold() {
        let limits = |min, max| SpeakerLimits::new(min, max).expect("in bounds");
        let clusters = |limits| average_linkage(&rows(), 0.9, 1, limits).into_iter().max().map(|l| l + 1);
        assert_eq!(clusters(limits(1, 1)), Some(1));
        assert_eq!(clusters(limits(1, 2)), Some(2));
        assert_eq!(clusters(limits(4, 9)), Some(4));
    }

    #[test]
    fn outliers_do_not_take_the_place_of_speakers() {
        // Two pairs and an outlier between them; two speakers are wanted, and a speaker has two windows at least.
        let rows = vec![vec![1.0, 0.0], vec![0.99, 0.14], vec![0.0, 1.0], vec![0.14, 0.99], vec![-0.7, -0.7]];
        let exactly = |n| SpeakerLimits::new(n, n).expect("in bounds");
        assert_eq!(average_linkage(&rows, 0.9, 2, exactly(2)), [0, 0, 1, 1, 2]);
        assert_eq!(
            average_linkage(&rows, 0.1, 2, exactly(2))[..4],
            [0, 0, 1, 1],
            "two are wanted: they stay two"
        );
        assert_eq!(average_linkage(&rows, 0.9, 2, exactly(1))[..4], [0, 0, 0, 0]);
    }

    #[test]
    fn the_threshold_lies_between_what_was_heard() {
        let parameters = LinkageParameters {
            inside_share_min: 0.9,
            inside_prior: 0.6,
            inside_count: 10.0,
            outside_prior: 0.2,
            outside_count: 2.0,
            balance: 0.5,
            small_s: 0.75,
        };
        let nothing = LocalSpeakers::default();
        assert!((threshold(&nothing, &parameters, 1.0) - 0.4).abs() < 1e-12);
        let similar = LocalSpeakers { inside_sum: 8.0, inside_pairs: 10, ..nothing };
        assert!((threshold(&similar, &parameters, 1.0) - 0.45).abs() < 1e-12);
    }
}
