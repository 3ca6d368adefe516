//! Probabilistic linear discriminant analysis: into the space in which VBx works.
//!
//! There, what one speaker's embeddings scatter by is the unit matrix, and what speakers differ by is diagonal, `phi`.
//! Ioffe, "Probabilistic linear discriminant analysis" (2006); the two-step normalisation before it is that of the x-vector
//! recipe (Landini et al., "Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization", 2022).

use nalgebra::{Cholesky, DMatrix, DVector, SymmetricEigen};

/// The arrays that a PLDA is stored as.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PldaArrays {
    /// Mean of embeddings, `[dimension]`.
    pub mean1: Vec<f64>,
    /// Mean after the projection, `[projected]`.
    pub mean2: Vec<f64>,
    /// The projection, `[dimension, projected]`, row-major.
    pub lda: Vec<f64>,
    /// Mean of the model, `[projected]`.
    pub mu: Vec<f64>,
    /// The transform that diagonalises it, `[projected, projected]`, row-major.
    pub tr: Vec<f64>,
    /// What speakers differ by after it, `[projected]`.
    pub psi: Vec<f64>,
}

/// Why arrays are no PLDA.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PldaError {
    /// An array of another size than the others call for.
    #[error("array `{array}` of the PLDA has {found} numbers, not {wanted}")]
    Size {
        /// Which.
        array: &'static str,
        /// Its length.
        found: usize,
        /// What it should have.
        wanted: usize,
    },
    /// Numbers that are not finite.
    #[error("array `{array}` of the PLDA holds a number that is not finite")]
    NotFinite {
        /// Which.
        array: &'static str,
    },
    /// A transform that cannot be inverted, or variances that are not positive.
    #[error("the PLDA is degenerate: {what}")]
    Degenerate {
        /// What is wrong.
        what: &'static str,
    },
}

/// A PLDA ready for use.
#[derive(Debug, Clone, PartialEq)]
pub struct Plda {
    dimension: usize,
    mean1: Vec<f64>,
    mean2: Vec<f64>,
    lda: Vec<f64>,
    mu: Vec<f64>,
    /// Rows are directions, `[projected, projected]`.
    rotation: Vec<f64>,
    phi: Vec<f64>,
}

impl Plda {
    /// Works out the directions in which within-speaker scatter is 1, most telling first.
    ///
    /// With `W = (trᵀ tr)⁻¹` and `B = (trᵀ diag(1/psi) tr)⁻¹` these are the solutions of `B v = phi W v`, at
    /// `vᵀ W v = 1`. Their signs are free; nothing depends on them.
    ///
    /// # Errors
    /// See [`PldaError`].
    pub fn new(arrays: PldaArrays) -> Result<Self, PldaError> {
        let (dimension, projected) = (arrays.mean1.len(), arrays.mean2.len());
        let sizes = [
            ("lda", &arrays.lda, dimension * projected),
            ("mu", &arrays.mu, projected),
            ("tr", &arrays.tr, projected * projected),
            ("psi", &arrays.psi, projected),
            ("mean1", &arrays.mean1, dimension),
            ("mean2", &arrays.mean2, projected),
        ];
        for (array, values, wanted) in sizes {
            if values.len() != wanted || wanted == 0 {
                return Err(PldaError::Size { array, found: values.len(), wanted });
            }
            if !values.iter().all(|v| v.is_finite()) {
                return Err(PldaError::NotFinite { array });
            }
        }
        if !arrays.psi.iter().all(|v| *v > 0.0) {
            return Err(PldaError::Degenerate { what: "`psi` is not positive" });
        }
        let (phi, rotation) = diagonalise(&arrays, projected)
            .ok_or(PldaError::Degenerate { what: "`tr` cannot be inverted" })?;
        let PldaArrays { mean1, mean2, lda, mu, .. } = arrays;
        Ok(Self { dimension, mean1, mean2, lda, mu, rotation, phi })
    }

    /// Length of the embeddings it takes.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Between-speaker variances, descending; as long as a feature.
    #[must_use]
    pub fn phi(&self) -> &[f64] {
        &self.phi
    }

    /// The feature of an embedding that was not normalised.
    ///
    /// # Panics
    /// When the embedding has another length.
    #[must_use]
    pub fn feature(&self, embedding: &[f64]) -> Vec<f64> {
        let x = self.projected(embedding);
        let centred: Vec<f64> = x.iter().zip(&self.mu).map(|(x, mu)| x - mu).collect();
        self.rotation.chunks_exact(self.phi.len()).map(|row| inner(row, &centred)).collect()
    }

    /// The embedding centred, brought to length `√dimension`, projected, centred, brought to length `√projected`.
    #[must_use]
    pub fn projected(&self, embedding: &[f64]) -> Vec<f64> {
        assert_eq!(embedding.len(), self.dimension, "embeddings have the PLDA's dimension");
        let mut x: Vec<f64> = embedding.iter().zip(&self.mean1).map(|(e, m)| e - m).collect();
        scale_to(&mut x, (self.dimension as f64).sqrt());
        let mut y: Vec<f64> = self.mean2.iter().map(|m| -m).collect();
        for (value, row) in x.iter().zip(self.lda.chunks_exact(y.len())) {
            y.iter_mut().zip(row).for_each(|(y, l)| *y += value * l);
        }
        let length = (y.len() as f64).sqrt();
        scale_to(&mut y, length);
        y
    }
}

/// Eigenvalues, descending, and eigenvectors as rows; `None` when a matrix cannot be inverted.
fn diagonalise(arrays: &PldaArrays, n: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let tr = DMatrix::from_row_slice(n, n, &arrays.tr);
    let weighted = DMatrix::from_fn(n, n, |i, j| tr[(i, j)] / arrays.psi[i]);
    let within = symmetric((tr.transpose() * &tr).try_inverse()?);
    let between = symmetric((tr.transpose() * weighted).try_inverse()?);
    // W = L Lᵀ, and v = L⁻ᵀ y turns the problem into an ordinary one for y, of unit length.
    let lower = Cholesky::new(within)?.l();
    let half = lower.solve_lower_triangular(&between)?;
    let whole = lower.solve_lower_triangular(&half.transpose())?;
    let eigen = SymmetricEigen::new(symmetric(whole));
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let upper = lower.transpose();
    let (mut phi, mut rotation) = (Vec::with_capacity(n), Vec::with_capacity(n * n));
    for k in order {
        let y: DVector<f64> = eigen.eigenvectors.column(k).into_owned();
        rotation.extend(upper.solve_upper_triangular(&y)?.iter());
        // Rounding may leave a variance of 0 a little below it.
        phi.push(eigen.eigenvalues[k].max(0.0));
    }
    (phi.iter().chain(&rotation).all(|v| v.is_finite())).then_some((phi, rotation))
}

fn symmetric(matrix: DMatrix<f64>) -> DMatrix<f64> {
    (&matrix + matrix.transpose()) * 0.5
}

/// Brings a vector to a length; one of length 0 stays.
fn scale_to(vector: &mut [f64], length: f64) {
    let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|v| *v *= length / norm);
    }
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrays() -> PldaArrays {
        PldaArrays {
            mean1: vec![0.1, -0.2, 0.3],
            mean2: vec![0.05, -0.1],
            lda: vec![1.0, 0.2, -0.3, 0.8, 0.5, 0.4],
            mu: vec![0.02, 0.01],
            tr: vec![1.2, 0.3, -0.1, 0.9],
            psi: vec![0.7, 2.5],
        }
    }

    #[test]
    fn directions_solve_the_problem_by_its_definition() {
        let plda = Plda::new(arrays()).unwrap();
        // By hand for 2 x 2: W = inv(trᵀ tr), B = inv(trᵀ psi⁻¹ tr).
        let a = arrays();
        let tr = DMatrix::from_row_slice(2, 2, &a.tr);
        let within = (tr.transpose() * &tr).try_inverse().unwrap();
        let psi = DMatrix::from_diagonal(&DVector::from_vec(a.psi.iter().map(|p| 1.0 / p).collect()));
        let between = (tr.transpose() * psi * &tr).try_inverse().unwrap();
        for k in 0..2 {
            let v = DVector::from_row_slice(&plda.rotation[k * 2..k * 2 + 2]);
            let left = &between * &v;
            let right = &within * &v * plda.phi[k];
            assert!((left - right).norm() < 1e-12, "direction {k}");
            assert!(((v.transpose() * &within * &v)[0] - 1.0).abs() < 1e-12);
        }
        // Diagonalised by `tr`, the variances are `psi` themselves.
        assert!((plda.phi[0] - 2.5).abs() < 1e-12 && (plda.phi[1] - 0.7).abs() < 1e-12);
    }

    #[test]
    fn projections_have_the_stated_length() {
        let plda = Plda::new(arrays()).unwrap();
        let y = plda.projected(&[0.9, 0.1, -0.4]);
        assert!((inner(&y, &y) - 2.0).abs() < 1e-12);
        assert_eq!(plda.feature(&[0.9, 0.1, -0.4]).len(), 2);
        assert!(plda.projected(&[0.1, -0.2, 0.3]).iter().all(|v| v.is_finite()), "an embedding at the mean");
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused() {
        let refused = |change: fn(&mut PldaArrays)| {
            let mut arrays = arrays();
            change(&mut arrays);
            Plda::new(arrays).unwrap_err()
        };
        assert_eq!(refused(|a| _ = a.lda.pop()), PldaError::Size { array: "lda", found: 5, wanted: 6 });
        assert_eq!(refused(|a| a.mu[0] = f64::NAN), PldaError::NotFinite { array: "mu" });
        assert!(matches!(refused(|a| a.psi[1] = 0.0), PldaError::Degenerate { .. }));
        assert!(matches!(refused(|a| a.tr = vec![0.0; 4]), PldaError::Degenerate { .. }));
        assert!(matches!(refused(|a| *a = PldaArrays::default()), PldaError::Size { .. }));
    }
}
