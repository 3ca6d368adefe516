//! The lowest eigenpairs of a graph's Laplacian, L = D - A.
//!
//! Each connected component has its own block of L, so they are solved one by one: that way the multiplicity of the
//! eigenvalue 0 equals the number of components by construction, which a single Krylov space could not tell. A large
//! block is solved by Lanczos with full reorthogonalisation (Parlett, "The Symmetric Eigenvalue Problem", 1980, ch. 13),
//! a small one densely.

use nalgebra::{DMatrix, SymmetricEigen};

use super::neighbours::Graph;

/// Components up to this size are solved densely.
const DENSE_MAX: usize = 96;
/// Residual, relative to the largest degree, at which an eigenpair counts as found.
const TOLERANCE: f64 = 1e-7;
/// Lanczos steps between two looks at the residuals.
const STEPS: usize = 48;

/// An eigenvalue and its unit-length eigenvector over all nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigenpair {
    /// The eigenvalue; ascending in what [`lowest`] returns.
    pub value: f64,
    /// One entry per node.
    pub vector: Vec<f64>,
}

/// The `count` lowest eigenpairs (all, if there are fewer), ascending; ties in order of the components' first nodes.
#[must_use]
pub fn lowest(graph: &Graph, count: usize) -> Vec<Eigenpair> {
    let n = graph.nodes();
    let mut pairs = Vec::new();
    for members in graph.components() {
        let block = Block::new(graph, &members);
        for (value, local) in block.lowest(count.min(members.len())) {
            let mut vector = vec![0.0; n];
            members.iter().zip(local).for_each(|(node, v)| vector[*node] = v);
            pairs.push(Eigenpair { value, vector });
        }
        // Only the lowest are ever needed; this bounds memory with many components.
        pairs.sort_by(|a, b| a.value.total_cmp(&b.value));
        pairs.truncate(count);
    }
    pairs
}

/// The Laplacian of one component.
struct Block {
    degrees: Vec<f64>,
    starts: Vec<usize>,
    edges: Vec<(u32, f64)>,
}

impl Block {
    fn new(graph: &Graph, members: &[usize]) -> Self {
        let mut local = vec![u32::MAX; graph.nodes()];
        members.iter().enumerate().for_each(|(i, node)| local[*node] = i as u32);
        let (mut starts, mut edges) = (vec![0], Vec::new());
        for &node in members {
            edges.extend(graph.edges(node).map(|(j, w)| (local[j], w)));
            starts.push(edges.len());
        }
        Self { degrees: members.iter().map(|&node| graph.degree(node)).collect(), starts, edges }
    }

    fn size(&self) -> usize {
        self.degrees.len()
    }

    /// `out = L x`.
    fn apply(&self, x: &[f64], out: &mut [f64]) {
        for (i, o) in out.iter_mut().enumerate() {
            let mixed: f64 =
                self.edges[self.starts[i]..self.starts[i + 1]].iter().map(|(j, w)| w * x[*j as usize]).sum();
            *o = self.degrees[i] * x[i] - mixed;
        }
    }

    fn lowest(&self, count: usize) -> Vec<(f64, Vec<f64>)> {
        let n = self.size();
        if n > DENSE_MAX {
            return self.lanczos(count);
        }
        let mut dense = DMatrix::zeros(n, n);
        for i in 0..n {
            dense[(i, i)] = self.degrees[i];
            for (j, w) in &self.edges[self.starts[i]..self.starts[i + 1]] {
                dense[(i, *j as usize)] -= w;
            }
        }
        ascending(dense, count).into_iter().map(|(value, vector)| (value.max(0.0), vector)).collect()
    }

    fn lanczos(&self, count: usize) -> Vec<(f64, Vec<f64>)> {
        let n = self.size();
        let scale = self.degrees.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let mut basis: Vec<Vec<f64>> = vec![start_vector(n)];
        let (mut alphas, mut betas) = (Vec::new(), Vec::new());
        let mut next = vec![0.0; n];
        loop {
            let last = basis.len() - 1;
            self.apply(&basis[last], &mut next);
            alphas.push(inner(&basis[last], &next));
            // Twice is enough (Kahan): after two passes the new vector is orthogonal to working precision.
            for _ in 0..2 {
                for vector in &basis {
                    let share = inner(vector, &next);
                    next.iter_mut().zip(vector).for_each(|(x, v)| *x -= share * v);
                }
            }
            let beta = inner(&next, &next).sqrt();
            let exhausted = basis.len() == n || beta <= 1e-13 * scale;
            if exhausted || (basis.len().is_multiple_of(STEPS) && basis.len() >= 2 * count) {
                let ritz = ascending(tridiagonal(&alphas, &betas), count);
                // The residual of a Ritz pair is beta times the last entry of its small eigenvector.
                let worst = ritz.iter().map(|(_, s)| (beta * s[s.len() - 1]).abs()).fold(0.0, f64::max);
                if exhausted || worst <= TOLERANCE * scale {
                    return ritz
                        .into_iter()
                        .map(|(value, s)| (value.max(0.0), combine(&basis, &s)))
                        .collect();
                }
            }
            betas.push(beta);
            basis.push(next.iter().map(|x| x / beta).collect());
        }
    }
}

/// A fixed start with a share of every eigenvector; a pseudo-random one, so that no symmetry of a graph hides one.
fn start_vector(n: usize) -> Vec<f64> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut vector: Vec<f64> = (0..n)
        .map(|_| {
            // xorshift64* (Vigna, 2016)
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        })
        .collect();
    let norm = inner(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|v| *v /= norm);
    vector
}

fn tridiagonal(alphas: &[f64], betas: &[f64]) -> DMatrix<f64> {
    let m = alphas.len();
    let mut t = DMatrix::zeros(m, m);
    for i in 0..m {
        t[(i, i)] = alphas[i];
        if i + 1 < m {
            t[(i, i + 1)] = betas[i];
            t[(i + 1, i)] = betas[i];
        }
    }
    t
}

/// The `count` lowest eigenpairs of a small symmetric matrix.
fn ascending(matrix: DMatrix<f64>, count: usize) -> Vec<(f64, Vec<f64>)> {
    let eigen = SymmetricEigen::new(matrix);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*a].total_cmp(&eigen.eigenvalues[*b]));
    order
        .into_iter()
        .take(count)
        .map(|i| (eigen.eigenvalues[i], eigen.eigenvectors.column(i).iter().copied().collect()))
        .collect()
}

fn combine(basis: &[Vec<f64>], shares: &[f64]) -> Vec<f64> {
    let mut vector = vec![0.0; basis[0].len()];
    for (b, share) in basis.iter().zip(shares) {
        vector.iter_mut().zip(b).for_each(|(v, x)| *v += share * x);
    }
    vector
}

/// The dot product, in four partial sums that the compiler can vectorise.
fn inner(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in left.zip(right) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::observations::to_unit_length;

    /// `sizes` clouds of points in 8 dimensions around orthogonal axes, with some noise.
    fn clouds(sizes: &[usize], noise: f32) -> Vec<f32> {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let mut points = Vec::new();
        for (axis, size) in sizes.iter().enumerate() {
            for _ in 0..*size {
                let mut point: Vec<f32> = (0..8).map(|d| f32::from(d == axis) + noise * random()).collect();
                to_unit_length(&mut point);
                points.extend(point);
            }
        }
        points
    }

    fn residual(graph: &Graph, pair: &Eigenpair) -> f64 {
        (0..graph.nodes())
            .map(|i| {
                let applied = graph.degree(i) * pair.vector[i]
                    - graph.edges(i).map(|(j, w)| w * pair.vector[j]).sum::<f64>();
                (applied - pair.value * pair.vector[i]).powi(2)
            })
            .sum::<f64>()
            .sqrt()
    }

    #[test]
    fn lanczos_agrees_with_the_dense_solver() {
        let graph = Graph::of_cosines(&clouds(&[130, 90, 40], 1.2), 8, 24);
        let n = graph.nodes();
        let mut dense = DMatrix::zeros(n, n);
        for i in 0..n {
            dense[(i, i)] = graph.degree(i);
            graph.edges(i).for_each(|(j, w)| dense[(i, j)] -= w);
        }
        let truth = ascending(dense, 16);
        let found = lowest(&graph, 16);
        assert_eq!(found.len(), 16);
        for (pair, (value, _)) in found.iter().zip(&truth) {
            assert!((pair.value - value).abs() < 1e-6, "{} against {value}", pair.value);
            assert!(residual(&graph, pair) < 1e-4, "residual {}", residual(&graph, pair));
        }
    }

    #[test]
    fn as_many_zeros_as_components() {
        let graph = Graph::of_cosines(&clouds(&[120, 110, 30, 100], 0.1), 8, 12);
        assert_eq!(graph.components().len(), 4);
        let values: Vec<f64> = lowest(&graph, 6).iter().map(|p| p.value).collect();
        assert!(values[..4].iter().all(|v| *v < 1e-6) && values[4] > 0.1, "{values:?}");
    }

    #[test]
    fn tiny_graphs() {
        assert!(lowest(&Graph::of_cosines(&[], 8, 5), 16).is_empty());
        let one = lowest(&Graph::of_cosines(&clouds(&[1], 0.0), 8, 5), 16);
        assert_eq!((one.len(), one[0].value), (1, 0.0));
    }
}
