//! What the networks saw in one recording: all that clustering needs, a few megabytes an hour.

use super::local_embeddings::LocalEmbeddings;
use super::speaker_count::ChunkActivity;

/// Local activity of every chunk, and what was embedded: windows, or local speakers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observations {
    /// Samples of the recording.
    pub samples: usize,
    /// Samples between two windows of the grid that covers all speech; windows off that grid come on top.
    pub hop: usize,
    /// Activity of each chunk, in order.
    pub activity: Vec<ChunkActivity>,
    /// First sample of each embedded window, ascending.
    pub windows: Vec<usize>,
    /// Unit-length embeddings, row-major `[windows, dimension]`.
    pub embeddings: Vec<f32>,
    /// Embeddings of local speakers, of bundles with a frame-level network.
    pub locals: LocalEmbeddings,
    dimension: usize,
}

impl Observations {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self { dimension, locals: LocalEmbeddings::new(dimension), ..Self::default() }
    }

    /// Length of one embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Adds a window; its embedding is brought to unit length (one of all zeros stays so).
    ///
    /// # Panics
    /// When the embedding has another length than [`Observations::dimension`].
    pub fn push_window(&mut self, start: usize, embedding: &[f32]) {
        assert_eq!(embedding.len(), self.dimension, "embeddings have the bundle's dimension");
        self.windows.push(start);
        self.embeddings.extend_from_slice(embedding);
        let at = self.embeddings.len() - self.dimension;
        to_unit_length(&mut self.embeddings[at..]);
    }

    /// Brings the windows into order of time.
    pub fn sort_windows(&mut self) {
        let mut order: Vec<usize> = (0..self.windows.len()).collect();
        order.sort_by_key(|i| self.windows[*i]);
        self.embeddings = order.iter().flat_map(|i| self.embedding(*i)).copied().collect();
        self.windows = order.iter().map(|i| self.windows[*i]).collect();
    }

    /// The embedding of window `index`.
    #[must_use]
    pub fn embedding(&self, index: usize) -> &[f32] {
        &self.embeddings[index * self.dimension..(index + 1) * self.dimension]
    }
}

/// Scales a vector to length 1; one of length 0 stays.
pub fn to_unit_length(vector: &mut [f32]) {
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    }
}

/// The dot product in f64.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}
