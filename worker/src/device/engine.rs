//! What a device can do, as one small synchronous trait.

/// Runs a bundle's networks. Owned by one lane thread.
///
/// Contract: a row alone gives the same numbers as the row inside any batch (bit-equal on a CPU; to the manifest's
/// tolerance elsewhere); all rows of a call have the same length; outputs are appended row-major to `out`, which the
/// caller passes empty.
pub trait Engine {
    /// Class scores: rows of samples in [-1, 1] → `[rows, frames, classes]`.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn segment(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError>;

    /// Embeddings, not normalised: rows of samples in [-1, 1] → `[rows, dimension]`.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError>;

    /// Embeddings of local speakers, not normalised: chunks of samples in [-1, 1], and for each of them how much each
    /// activity frame counts for each local speaker, `[local speakers, frames]` → `[rows, local speakers, dimension]`.
    ///
    /// # Errors
    /// See [`EngineError`]; [`EngineError::NoSuchNetwork`] unless the bundle has a frame-level network.
    fn embed_locals(
        &mut self,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let _ = (rows, weights, out);
        Err(EngineError::NoSuchNetwork { network: "frame-level" })
    }

    /// The frame-level trunk alone: rows of features `[frames, mel bins]` → `[rows, channels, steps]`.
    ///
    /// # Errors
    /// As [`Engine::embed_locals`].
    fn trunk(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let _ = (rows, out);
        Err(EngineError::NoSuchNetwork { network: "trunk" })
    }

    /// The pooling head alone: rows of trunk output `[channels, steps]`, weights as for [`Engine::embed_locals`] →
    /// `[rows, local speakers, dimension]`.
    ///
    /// # Errors
    /// As [`Engine::embed_locals`].
    fn pool(&mut self, rows: &[&[f32]], weights: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let _ = (rows, weights, out);
        Err(EngineError::NoSuchNetwork { network: "pooling" })
    }

    /// Told when nothing has come for a while: memory that is kept for later may go back.
    fn idle(&mut self) {}
}

/// Why a batch gave no numbers.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A smaller batch may fit.
    #[error("the device is out of memory for a batch of {rows} rows")]
    OutOfMemory {
        /// Rows of the batch.
        rows: usize,
    },
    /// The device is gone; the process has to end.
    #[error("the device was lost: {detail}")]
    Lost {
        /// What the driver said.
        detail: String,
    },
    /// The network's output has another shape than the manifest promises.
    #[error("the {network} network gave an output of shape {found:?}; the manifest promises {expected}")]
    OutputShape {
        /// Which network.
        network: &'static str,
        /// What came.
        found: Vec<i64>,
        /// What should have come.
        expected: String,
    },
    /// The network gave NaN or infinite numbers for finite input.
    #[error("the {network} network gave a number that is not finite")]
    NotFinite {
        /// `segmentation` or `embedding`.
        network: &'static str,
    },
    /// The bundle has no network of this kind.
    #[error("the bundle has no {network} network")]
    NoSuchNetwork {
        /// What was asked for.
        network: &'static str,
    },
    /// The inference library refused to run.
    #[error("the inference library failed while running the {network} network")]
    Library {
        /// `segmentation` or `embedding`.
        network: &'static str,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Refuses an output of another shape than the manifest promises; `None` stands for any length.
///
/// # Errors
/// [`EngineError::OutputShape`].
pub(super) fn check_shape(
    network: &'static str,
    found: &[i64],
    expected: &[Option<usize>],
) -> Result<(), EngineError> {
    let right = |(found, expected): (&i64, &Option<usize>)| expected.is_none_or(|n| *found == n as i64);
    if found.len() == expected.len() && found.iter().zip(expected).all(right) {
        return Ok(());
    }
    let axes: Vec<String> =
        expected.iter().map(|n| n.map_or_else(|| "any".to_owned(), |n| n.to_string())).collect();
    let expected = format!("[{}]", axes.join(", "));
    Err(EngineError::OutputShape { network, found: found.to_vec(), expected })
}

/// A shape without axes of length 1 behind the second: some networks keep one behind the embedding.
pub(super) fn squeezed(shape: &[i64]) -> Vec<i64> {
    shape.iter().enumerate().filter(|(axis, n)| *axis < 2 || **n != 1).map(|(_, n)| *n).collect()
}
