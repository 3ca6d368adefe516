//! Centroid linkage, and cuts of its tree.
//!
//! Clusters are merged whose centroids are nearest (Sokal and Michener, 1958), from points that may stand for several:
//! a tree over groups then is what the tree over their members would be from there on. Heights do not always rise, so a
//! cut looks at the highest node of a subtree.

/// Two clusters become one. Points are clusters `0..n`; merge `k` makes cluster `n + k`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The clusters, the smaller number first.
    pub children: [usize; 2],
    /// Distance of their centroids.
    pub height: f64,
    /// Members of the new cluster.
    pub size: f64,
}

/// The merges of `n` points, in the order in which they were made; `n - 1` of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dendrogram {
    points: usize,
    merges: Vec<Merge>,
}

impl Dendrogram {
    /// Links `points` (`[n, dimension]`, row-major), each standing for `sizes` members. Ties go to the lower numbers.
    ///
    /// O(n²) memory: 4 n² bytes. O(n² dimension) time for distances, and O(n²) to O(n³) for merging.
    ///
    /// # Panics
    /// When `points` does not hold as many rows as there are sizes.
    #[must_use]
    pub fn of_centroids(points: &[f64], dimension: usize, sizes: &[f64]) -> Self {
        let n = sizes.len();
        assert_eq!(points.len(), n * dimension, "a size for each point");
        if n == 0 {
            return Self::default();
        }
        let mut linkage = Linkage::new(points, dimension, sizes);
        let merges = (0..n - 1).map(|k| linkage.merge(n + k)).collect();
        Self { points: n, merges }
    }

    /// The merges.
    #[must_use]
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// A flat cluster for each point: the largest subtrees without a node above `height_max`.
    #[must_use]
    pub fn cut(&self, height_max: f64) -> Vec<usize> {
        let heights: Vec<f64> = self.merges.iter().map(|merge| merge.height).collect();
        self.cut_by(&heights, height_max)
    }

    /// A flat cluster for each point after the first `merges` merges.
    #[must_use]
    pub fn cut_after(&self, merges: usize) -> Vec<usize> {
        let order: Vec<f64> = (0..self.merges.len()).map(|k| k as f64).collect();
        self.cut_by(&order, merges as f64 - 0.5)
    }

    /// Flat clusters of subtrees whose largest `value` is at most `max`, numbered as a walk from the root meets them,
    /// the first child first; a point alone is numbered after its sibling's subtree. This is the order that scipy's
    /// `fcluster` gives, and with it the order of speakers.
    fn cut_by(&self, value: &[f64], max: f64) -> Vec<usize> {
        let n = self.points;
        let mut worst = value.to_vec();
        for (k, merge) in self.merges.iter().enumerate() {
            for child in merge.children {
                if child >= n {
                    worst[k] = worst[k].max(worst[child - n]);
                }
            }
        }
        let mut labels = vec![0; n];
        let mut next = 0;
        // Nodes to visit, and the cluster they are inside of, if any.
        let mut open: Vec<(usize, Option<usize>)> = if n > 0 { vec![(2 * n - 2, None)] } else { Vec::new() };
        while let Some((node, inside)) = open.pop() {
            let mut number = || {
                next += 1;
                next - 1
            };
            if node < n {
                labels[node] = inside.unwrap_or_else(number);
                continue;
            }
            let inside = inside.or_else(|| (worst[node - n] <= max).then(&mut number));
            let [first, second] = self.merges[node - n].children;
            // Points wait for the subtree beside them; what is pushed last is visited first.
            let (mut points, mut trees) = (Vec::new(), Vec::new());
            for child in [first, second] {
                if child < n { points.push((child, inside)) } else { trees.push((child, inside)) }
            }
            open.extend(points.into_iter().rev());
            open.extend(trees.into_iter().rev());
        }
        labels
    }
}

/// Linkage under way. A cluster lives in the slot of one of its points.
struct Linkage {
    n: usize,
    /// Squared distances of slots `i < j`, row after row.
    squares: Vec<f64>,
    sizes: Vec<f64>,
    /// Number of the cluster in each slot; `None` once it was merged into another.
    cluster: Vec<Option<usize>>,
    /// For each slot, the nearest one behind it and the squared distance; infinite for the last.
    nearest: Vec<(f64, usize)>,
}

impl Linkage {
    fn new(points: &[f64], dimension: usize, sizes: &[f64]) -> Self {
        let n = sizes.len();
        let row = |i: usize| &points[i * dimension..(i + 1) * dimension];
        let mut squares = Vec::with_capacity(n * (n - 1) / 2);
        for i in 0..n {
            squares.extend((i + 1..n).map(|j| squared_distance(row(i), row(j))));
        }
        let mut linkage = Self {
            n,
            squares,
            sizes: sizes.to_vec(),
            cluster: (0..n).map(Some).collect(),
            nearest: vec![(f64::INFINITY, 0); n],
        };
        (0..n).for_each(|i| linkage.find_nearest(i));
        linkage
    }

    fn at(&self, i: usize, j: usize) -> usize {
        let (i, j) = (i.min(j), i.max(j));
        i * (2 * self.n - i - 1) / 2 + j - i - 1
    }

    fn find_nearest(&mut self, i: usize) {
        let mut best = (f64::INFINITY, i);
        for j in i + 1..self.n {
            if self.cluster[j].is_some() {
                let square = self.squares[self.at(i, j)];
                if square < best.0 {
                    best = (square, j);
                }
            }
        }
        self.nearest[i] = best;
    }

    /// Merges the two nearest clusters into number `new`.
    fn merge(&mut self, new: usize) -> Merge {
        let alive = (0..self.n).filter(|i| self.cluster[*i].is_some());
        let gone = alive.min_by(|a, b| self.nearest[*a].0.total_cmp(&self.nearest[*b].0)).unwrap_or(0);
        let (square, kept) = self.nearest[gone];
        let (a, b) = (self.cluster[gone].take().unwrap_or(new), self.cluster[kept].unwrap_or(new));
        let (size_a, size_b) = (self.sizes[gone], self.sizes[kept]);
        let size = size_a + size_b;
        self.nearest[gone].0 = f64::INFINITY;
        self.cluster[kept] = Some(new);
        self.sizes[kept] = size;
        for other in 0..self.n {
            if other == kept || self.cluster[other].is_none() {
                continue;
            }
            // Lance and Williams: the squared distance to the weighted mean of two centroids.
            let (to_a, to_b) = (self.squares[self.at(other, gone)], self.squares[self.at(other, kept)]);
            let moved = (size_a * to_a + size_b * to_b - size_a * size_b / size * square) / size;
            let moved = moved.max(0.0);
            let at = self.at(other, kept);
            self.squares[at] = moved;
            if other < kept {
                let near = self.nearest[other];
                if moved < near.0 {
                    self.nearest[other] = (moved, kept);
                } else if near.1 == gone || near.1 == kept {
                    self.find_nearest(other);
                }
            } else if self.nearest[other].1 == gone {
                self.find_nearest(other);
            }
        }
        self.find_nearest(kept);
        Merge { children: [a.min(b), a.max(b)], height: square.max(0.0).sqrt(), size }
    }
}

/// The squared distance, in eight partial sums that the compiler can vectorise.
fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| (x - y).powi(2)).sum();
    for (x, y) in left.zip(right) {
        for lane in 0..8 {
            let gap = x[lane] - y[lane];
            sums[lane] += gap * gap;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(n: usize, dimension: usize) -> Vec<f64> {
        let mut state = 7u64;
        (0..n * dimension)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
            })
            .collect()
    }

    /// The textbook: keep members, compute every centroid anew, take the nearest pair.
    fn textbook(points: &[f64], dimension: usize) -> Vec<(f64, Vec<usize>)> {
        let n = points.len() / dimension;
        let centroid = |members: &[usize]| -> Vec<f64> {
            (0..dimension)
                .map(|d| {
                    members.iter().map(|m| points[m * dimension + d]).sum::<f64>() / members.len() as f64
                })
                .collect()
        };
        let mut clusters: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
        let mut merges = Vec::new();
        while clusters.len() > 1 {
            let mut best = (f64::INFINITY, 0, 0);
            for i in 0..clusters.len() {
                for j in i + 1..clusters.len() {
                    let (a, b) = (centroid(&clusters[i]), centroid(&clusters[j]));
                    let distance = a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
                    if distance < best.0 {
                        best = (distance, i, j);
                    }
                }
            }
            let mut joined = clusters.remove(best.2);
            joined.extend(clusters.remove(best.1));
            joined.sort_unstable();
            merges.push((best.0, joined.clone()));
            clusters.push(joined);
        }
        merges
    }

    fn members(tree: &Dendrogram, node: usize) -> Vec<usize> {
        if node < tree.points {
            return vec![node];
        }
        let mut all: Vec<usize> =
            tree.merges[node - tree.points].children.iter().flat_map(|c| members(tree, *c)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn merges_are_those_of_the_textbook() {
        for (n, dimension) in [(1, 3), (2, 3), (40, 2), (25, 9)] {
            let points = cloud(n, dimension);
            let tree = Dendrogram::of_centroids(&points, dimension, &vec![1.0; n]);
            let slow = textbook(&points, dimension);
            assert_eq!(tree.merges.len(), slow.len());
            for (k, (merge, (height, joined))) in tree.merges.iter().zip(&slow).enumerate() {
                assert!((merge.height - height).abs() < 1e-9, "merge {k} of {n}");
                assert_eq!((&members(&tree, n + k), merge.size), (joined, joined.len() as f64));
            }
        }
        assert_eq!(Dendrogram::of_centroids(&[], 3, &[]).cut(1.0), Vec::<usize>::new());
    }

    #[test]
    fn groups_continue_as_their_members_would() {
        let points = cloud(30, 4);
        let whole = Dendrogram::of_centroids(&points, 4, &[1.0; 30]);
        let labels = whole.cut_after(18);
        let groups = labels.iter().max().map_or(0, |l| l + 1);
        let (mut means, mut sizes) = (vec![0.0; groups * 4], vec![0.0; groups]);
        for (point, label) in labels.iter().enumerate() {
            sizes[*label] += 1.0;
            (0..4).for_each(|d| means[label * 4 + d] += points[point * 4 + d]);
        }
        means.iter_mut().enumerate().for_each(|(i, m)| *m /= sizes[i / 4]);
        let rest = Dendrogram::of_centroids(&means, 4, &sizes);
        for (late, merge) in whole.merges[18..].iter().zip(&rest.merges) {
            assert!((late.height - merge.height).abs() < 1e-9 && late.size == merge.size);
        }
    }

    #[test]
    fn a_cut_looks_at_the_highest_node_below() {
        // Points on a line: 0 and 1 join at height 2, their centroid is 1.9 from the third: an inversion in 2-D.
        let points = [-1.0, 0.0, 1.0, 0.0, 0.0, 1.9];
        let tree = Dendrogram::of_centroids(&points, 2, &[1.0; 3]);
        assert!((tree.merges[0].height - 2.0).abs() < 1e-12 && (tree.merges[1].height - 1.9).abs() < 1e-12);
        // The root is low enough at 1.95, what is below it is not.
        assert_eq!(tree.cut(1.95), [0, 1, 2]);
        assert_eq!(tree.cut(2.0), [0, 0, 0]);
        assert_eq!([0, 1, 2].map(|merges| tree.cut_after(merges)), [[0, 1, 2], [0, 0, 1], [0, 0, 0]]);
    }

    /// What scipy's `fcluster` answers, by hand: subtrees before points, the first child first.
    #[test]
    fn clusters_are_numbered_as_scipy_does() {
        let points = [0.0, 10.0, 0.1, 30.0, 10.2, 60.0];
        let tree = Dendrogram::of_centroids(&points, 1, &[1.0; 6]);
        let labels = tree.cut(1.0);
        assert_eq!(labels[0], labels[2]);
        assert_eq!(labels[1], labels[4]);
        assert_eq!(labels, [0, 1, 0, 2, 1, 3]);
    }
}
