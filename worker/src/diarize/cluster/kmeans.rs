//! k-means that gives the same answer every time: k-means++ from a fixed generator, several starts, stated ties.

/// Most Lloyd iterations of one start; what has not settled by then is a tie that does not matter.
const ITERATIONS_MAX: usize = 100;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct SplitMix(u64);

impl SplitMix {
    /// The next number in [0, 1), 53 bits.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Partitions points into at most `k` clusters; returns a cluster for each point.
///
/// `starts` times k-means++ (Arthur and Vassilvitskii, 2007) and Lloyd's iterations, all from one generator; the lowest
/// inertia wins (ties: the earlier start). Points go to the lower cluster in a tie; an empty cluster keeps its centre.
///
/// # Panics
/// When `k` or `starts` is 0, or the points have different lengths.
#[must_use]
pub fn partition(points: &[Vec<f64>], k: usize, starts: usize) -> Vec<usize> {
    partition_weighted(points, &vec![1.0; points.len()], k, starts)
}

/// [`partition`] of points that stand for several each.
///
/// # Panics
/// As [`partition`], and when a weight is missing.
#[must_use]
pub fn partition_weighted(points: &[Vec<f64>], weights: &[f64], k: usize, starts: usize) -> Vec<usize> {
    assert!(k > 0 && starts > 0, "a cluster and a start at least");
    assert_eq!(points.len(), weights.len(), "a weight for each point");
    assert!(points.windows(2).all(|pair| pair[0].len() == pair[1].len()), "points of one space");
    let mut random = SplitMix(0);
    let mut best = (f64::INFINITY, vec![0; points.len()]);
    if points.is_empty() {
        return best.1;
    }
    for _ in 0..starts {
        let (inertia, labels) = lloyd(points, weights, spread(points, weights, k, &mut random));
        if inertia < best.0 - 1e-12 {
            best = (inertia, labels);
        }
    }
    best.1
}

/// k-means++: each further centre is a point drawn with probability proportional to its squared distance.
fn spread(points: &[Vec<f64>], weights: &[f64], k: usize, random: &mut SplitMix) -> Vec<Vec<f64>> {
    let n = points.len();
    let first = ((random.unit() * n as f64) as usize).min(n - 1);
    let mut centres = vec![points[first].clone()];
    let mut gaps: Vec<f64> = points.iter().map(|p| distance(p, &points[first])).collect();
    while centres.len() < k {
        let total: f64 = gaps.iter().zip(weights).map(|(gap, weight)| gap * weight).sum();
        let target = random.unit() * total;
        let mut sum = 0.0;
        let drawn = gaps.iter().zip(weights).position(|(gap, weight)| {
            sum += gap * weight;
            sum > target
        });
        let centre = points[drawn.unwrap_or(n - 1)].clone();
        gaps.iter_mut().zip(points).for_each(|(gap, p)| *gap = gap.min(distance(p, &centre)));
        centres.push(centre);
    }
    centres
}

fn lloyd(points: &[Vec<f64>], weights: &[f64], mut centres: Vec<Vec<f64>>) -> (f64, Vec<usize>) {
    let width = points[0].len();
    let mut labels: Vec<usize> = Vec::new();
    for _ in 0..ITERATIONS_MAX {
        let moved: Vec<usize> = points.iter().map(|p| nearest(p, &centres)).collect();
        if moved == labels {
            break;
        }
        labels = moved;
        let mut sums = vec![vec![0.0; width]; centres.len()];
        let mut counts = vec![0.0; centres.len()];
        for ((point, label), weight) in points.iter().zip(&labels).zip(weights) {
            counts[*label] += weight;
            sums[*label].iter_mut().zip(point).for_each(|(s, x)| *s += weight * x);
        }
        for ((centre, sum), count) in centres.iter_mut().zip(sums).zip(counts) {
            if count > 0.0 {
                *centre = sum.into_iter().map(|s| s / count).collect();
            }
        }
    }
    let inertia = points
        .iter()
        .zip(&labels)
        .zip(weights)
        .map(|((p, label), weight)| weight * distance(p, &centres[*label]))
        .sum();
    (inertia, labels)
}

fn nearest(point: &[f64], centres: &[Vec<f64>]) -> usize {
    let mut best = (f64::INFINITY, 0);
    for (i, centre) in centres.iter().enumerate() {
        let d = distance(point, centre);
        if d < best.0 {
            best = (d, i);
        }
    }
    best.1
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|v| vec![*v]).collect()
    }

    #[test]
    fn the_generator_is_the_published_one() {
        // First outputs of SplitMix64 from seed 0.
        let mut random = SplitMix(0);
        let expected = [0xE220_A839_7B1D_CDAFu64, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        for value in expected {
            assert_eq!(random.unit(), (value >> 11) as f64 / (1u64 << 53) as f64);
        }
    }

    #[test]
    fn separate_groups_are_found() {
        let labels = partition(&line(&[0.0, 0.1, 10.0, 10.1, 0.2, 20.0]), 3, 10);
        assert!(labels[0] == labels[1] && labels[1] == labels[4] && labels[2] == labels[3]);
        assert!(labels[0] != labels[2] && labels[2] != labels[5] && labels[0] != labels[5]);
    }

    #[test]
    fn weights_pull_centres() {
        let points = line(&[0.0, 3.0, 5.0, 7.0]);
        let alone = partition(&points, 2, 10);
        assert!(alone[0] == alone[1] && alone[2] == alone[3] && alone[0] != alone[2], "{alone:?}");
        let heavy = partition_weighted(&points, &[1000.0, 1.0, 1.0, 1.0], 2, 10);
        assert!(heavy[1] == heavy[2] && heavy[2] == heavy[3] && heavy[0] != heavy[1], "{heavy:?}");
    }

    #[test]
    fn more_clusters_than_points_or_equal_points() {
        assert_eq!(partition(&line(&[5.0]), 4, 3), [0]);
        assert_eq!(partition(&line(&[1.0, 1.0, 1.0]), 2, 3), [0, 0, 0]);
        assert!(partition(&[], 3, 1).is_empty());
    }
}
