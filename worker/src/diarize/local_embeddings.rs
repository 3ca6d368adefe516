//! Embeddings of local speakers: what a frame-level network says of each voice of each chunk.

use super::observations::to_unit_length;

/// Embeddings of the active local speakers of a recording, as the network gave them (not normalised), in order of chunk
/// and number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalEmbeddings {
    of: Vec<(u32, u8)>,
    values: Vec<f32>,
    dimension: usize,
}

impl LocalEmbeddings {
    /// None yet, of this length each.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self { dimension, ..Self::default() }
    }

    /// Adds the embedding of local speaker `local` of `chunk`.
    ///
    /// # Panics
    /// When the embedding has another length, or does not come in order.
    pub fn push(&mut self, chunk: usize, local: usize, embedding: &[f32]) {
        assert_eq!(embedding.len(), self.dimension, "embeddings have the bundle's dimension");
        let of = (chunk as u32, local as u8);
        assert!(self.of.last().is_none_or(|last| *last < of), "embeddings come in order");
        self.of.push(of);
        self.values.extend_from_slice(embedding);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Length of one embedding.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whose embedding `index` is: chunk and local speaker.
    #[must_use]
    pub fn of(&self, index: usize) -> (usize, usize) {
        let (chunk, local) = self.of[index];
        (chunk as usize, local.into())
    }

    /// Embedding `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> &[f32] {
        &self.values[index * self.dimension..(index + 1) * self.dimension]
    }

    /// Embedding `index` at unit length, rounded to single precision as the reference does.
    #[must_use]
    pub fn unit(&self, index: usize) -> Vec<f32> {
        let mut unit = self.get(index).to_vec();
        to_unit_length(&mut unit);
        unit
    }

    /// Embeddings of one chunk at a time: their indices.
    pub fn by_chunk(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut next = 0;
        self.of.chunk_by(|a, b| a.0 == b.0).map(move |group| {
            let range = next..next + group.len();
            next = range.end;
            range
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_are_grouped_by_chunk() {
        let mut locals = LocalEmbeddings::new(2);
        for (chunk, local) in [(0, 0), (0, 2), (3, 1)] {
            locals.push(chunk, local, &[3.0 * chunk as f32, 4.0]);
        }
        assert_eq!(locals.by_chunk().collect::<Vec<_>>(), [0..2, 2..3]);
        assert_eq!((locals.of(1), locals.get(2)), ((0, 2), &[9.0, 4.0][..]));
        assert_eq!(locals.unit(0), [0.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "come in order")]
    fn order_is_kept() {
        let mut locals = LocalEmbeddings::new(1);
        locals.push(1, 0, &[0.0]);
        locals.push(0, 2, &[0.0]);
    }
}
