//! The affinity graph of embeddings: each keeps its most similar ones.

use nalgebra::{DMatrix, DMatrixView};

/// Rows multiplied at a time: bounds the dense part at `ROWS * n` numbers.
const ROWS: usize = 256;

/// A symmetric sparse matrix with non-negative weights and an empty diagonal, in compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    starts: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
}

impl Graph {
    /// Cosine affinities of `n` unit-length embeddings (`[n, dimension]`, row-major). Of each row the `keep` largest
    /// cosines survive, the embedding's own among them (ties: the lower index); negative ones count as 0; then the
    /// matrix is averaged with its transpose and the diagonal emptied. Memory: O(n · keep), not O(n²).
    ///
    /// # Panics
    /// When `embeddings` is not a whole number of rows.
    #[must_use]
    pub fn of_cosines(embeddings: &[f32], dimension: usize, keep: usize) -> Self {
        let n = embeddings.len() / dimension;
        assert_eq!(embeddings.len(), n * dimension, "whole embeddings");
        // Column-major [dimension, n] is the same memory as row-major [n, dimension].
        let all = DMatrixView::from_slice(embeddings, dimension, n);
        let mut entries: Vec<(u32, u32, f64)> = Vec::with_capacity(2 * n * keep.min(n));
        let mut order: Vec<u32> = Vec::with_capacity(n);
        for first in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - first);
            // [n, rows]: column r holds the cosines of embedding first + r.
            let cosines: DMatrix<f32> = all.transpose() * all.columns(first, rows);
            for r in 0..rows {
                let row = cosines.column(r);
                order.clear();
                order.extend(0..n as u32);
                let by_similarity =
                    |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
                if keep < n {
                    order.select_nth_unstable_by(keep, by_similarity);
                    order.truncate(keep);
                }
                let i = (first + r) as u32;
                for &j in order.iter().filter(|j| **j != i && row[**j as usize] > 0.0) {
                    let half = f64::from(row[j as usize]) / 2.0;
                    entries.extend([(i, j, half), (j, i, half)]);
                }
            }
        }
        Self::from_entries(n, entries)
    }

    /// Sums entries of equal place.
    fn from_entries(n: usize, mut entries: Vec<(u32, u32, f64)>) -> Self {
        entries.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let (mut starts, mut columns, mut weights) = (vec![0; n + 1], Vec::new(), Vec::<f64>::new());
        let mut last = None;
        for (i, j, weight) in entries {
            if last == Some((i, j)) {
                if let Some(w) = weights.last_mut() {
                    *w += weight;
                }
            } else {
                columns.push(j);
                weights.push(weight);
                starts[i as usize + 1] += 1;
                last = Some((i, j));
            }
        }
        for i in 0..n {
            starts[i + 1] += starts[i];
        }
        Self { starts, columns, weights }
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Neighbours of a node with their weights.
    pub fn edges(&self, node: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.starts[node]..self.starts[node + 1];
        self.columns[range.clone()].iter().map(|c| *c as usize).zip(self.weights[range].iter().copied())
    }

    /// Sum of a node's weights.
    #[must_use]
    pub fn degree(&self, node: usize) -> f64 {
        self.edges(node).map(|(_, w)| w).sum()
    }

    /// The connected components, each a sorted list of nodes, in order of their first node.
    #[must_use]
    pub fn components(&self) -> Vec<Vec<usize>> {
        let mut component = vec![usize::MAX; self.nodes()];
        let mut found: Vec<Vec<usize>> = Vec::new();
        for seed in 0..self.nodes() {
            if component[seed] != usize::MAX {
                continue;
            }
            component[seed] = found.len();
            let mut members = vec![seed];
            let mut next = 0;
            while next < members.len() {
                for (neighbour, _) in self.edges(members[next]) {
                    if component[neighbour] == usize::MAX {
                        component[neighbour] = found.len();
                        members.push(neighbour);
                    }
                }
                next += 1;
            }
            members.sort_unstable();
            found.push(members);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_dense_definition() {
        let n = 40;
        let mut embeddings: Vec<f32> = (0..n * 3).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
        embeddings.chunks_exact_mut(3).for_each(crate::diarize::observations::to_unit_length);
        let cosine = |i: usize, j: usize| -> f32 {
            (0..3).map(|d| embeddings[i * 3 + d] * embeddings[j * 3 + d]).sum()
        };
        let keep = 7;
        let mut dense = vec![vec![0.0; n]; n];
        for (i, row) in dense.iter_mut().enumerate() {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| cosine(i, *b).total_cmp(&cosine(i, *a)).then(a.cmp(b)));
            order[..keep]
                .iter()
                .filter(|j| **j != i)
                .for_each(|&j| row[j] = f64::from(cosine(i, j).max(0.0)));
        }
        let graph = Graph::of_cosines(&embeddings, 3, keep);
        for (i, row) in dense.iter().enumerate() {
            let sparse: Vec<(usize, f64)> = graph.edges(i).collect();
            let expected: Vec<(usize, f64)> =
                (0..n).map(|j| (j, (row[j] + dense[j][i]) / 2.0)).filter(|e| e.1 != 0.0).collect();
            assert_eq!(sparse.len(), expected.len());
            for ((j, w), (jj, ww)) in sparse.iter().zip(&expected) {
                assert!(j == jj && (w - ww).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn components_are_found() {
        let graph = Graph::from_entries(5, vec![(0, 3, 1.0), (3, 0, 1.0), (1, 2, 1.0), (2, 1, 1.0)]);
        assert_eq!(graph.components(), [vec![0, 3], vec![1, 2], vec![4]]);
    }
}
