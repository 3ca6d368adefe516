//! k-means without chance: farthest-first starts, Lloyd's iterations, stated ties.

/// Most iterations; a recording that needs more is a tie that does not matter.
const ITERATIONS_MAX: usize = 300;

/// Partitions `n` points (row-major `[n, width]`) into at most `k` clusters; returns a cluster for each point.
///
/// The first centre is the point nearest to the mean of all; each further one is the point farthest from its nearest
/// centre (Gonzalez, 1985; ties: the lower index). Then Lloyd's iterations until nothing moves (ties: the lower
/// cluster). A cluster that loses all its points keeps its centre.
///
/// # Panics
/// When `k` is 0 or `points` is not a whole number of rows.
#[must_use]
pub fn partition(points: &[f64], width: usize, k: usize) -> Vec<usize> {
    assert!(k > 0 && points.len() % width == 0, "whole points, and a cluster for them");
    let rows: Vec<&[f64]> = points.chunks_exact(width).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let mut centres = farthest_first(&rows, width, k.min(rows.len()));
    let mut labels = vec![usize::MAX; rows.len()];
    for _ in 0..ITERATIONS_MAX {
        let moved: Vec<usize> = rows.iter().map(|row| nearest(row, &centres).0).collect();
        if moved == labels {
            break;
        }
        labels = moved;
        let mut counts = vec![0usize; centres.len()];
        let mut sums = vec![vec![0.0; width]; centres.len()];
        for (row, &label) in rows.iter().zip(&labels) {
            counts[label] += 1;
            sums[label].iter_mut().zip(*row).for_each(|(s, x)| *s += x);
        }
        for ((centre, sum), count) in centres.iter_mut().zip(sums).zip(counts) {
            if count > 0 {
                *centre = sum.into_iter().map(|s| s / count as f64).collect();
            }
        }
    }
    labels
}

fn farthest_first(rows: &[&[f64]], width: usize, k: usize) -> Vec<Vec<f64>> {
    let mut mean = vec![0.0; width];
    for row in rows {
        mean.iter_mut().zip(*row).for_each(|(m, x)| *m += x / rows.len() as f64);
    }
    let first = rows
        .iter()
        .enumerate()
        .min_by(|a, b| distance(a.1, &mean).total_cmp(&distance(b.1, &mean)))
        .map_or(0, |(i, _)| i);
    let mut centres = vec![rows[first].to_vec()];
    let mut gap: Vec<f64> = rows.iter().map(|row| distance(row, &centres[0])).collect();
    while centres.len() < k {
        let mut far = 0;
        for (i, g) in gap.iter().enumerate() {
            if *g > gap[far] {
                far = i;
            }
        }
        let centre = rows[far].to_vec();
        for (g, row) in gap.iter_mut().zip(rows) {
            *g = g.min(distance(row, &centre));
        }
        centres.push(centre);
    }
    centres
}

fn nearest(row: &[f64], centres: &[Vec<f64>]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (i, centre) in centres.iter().enumerate() {
        let d = distance(row, centre);
        if d < best.1 {
            best = (i, d);
        }
    }
    best
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_groups_are_found() {
        let points = [0.0, 0.1, 10.0, 10.1, 0.2, 20.0];
        let labels = partition(&points, 1, 3);
        assert!(labels[0] == labels[1] && labels[1] == labels[4] && labels[2] == labels[3]);
        assert!(labels[0] != labels[2] && labels[2] != labels[5] && labels[0] != labels[5]);
    }

    #[test]
    fn more_clusters_than_points_or_equal_points() {
        assert_eq!(partition(&[5.0], 1, 4), [0]);
        assert_eq!(partition(&[1.0, 1.0, 1.0], 1, 2), [0, 0, 0]);
        assert!(partition(&[], 2, 3).is_empty());
    }
}
