//! A pooling head taken apart, pure: the layer behind masked statistics pooling, out of its ONNX file.
//!
//! A head is taken for one by the shapes of its constants; whether it is one is found out by running both. A head that is
//! something else runs as the network that it is.

use common::model::onnx::{self, Constant};

/// A dense layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// `[2 channels, dimension]`.
    pub weights: Vec<f32>,
    /// `[dimension]`.
    pub bias: Vec<f32>,
}

impl Dense {
    /// The only matrix of `2 channels` by `dimension` in a network, and its only vector of `dimension`; `None` when there
    /// is not exactly one of each, or another large constant.
    #[must_use]
    pub fn of(file: &[u8], channels: usize, dimension: usize) -> Option<Self> {
        let matrix = [2 * channels as u64, dimension as u64];
        let vector = [dimension as u64];
        let constants: Vec<Constant<'_>> =
            onnx::constants(file).ok()?.into_iter().filter(|constant| constant.elements() > 1).collect();
        let floats = |dims: &[u64]| {
            let mut found = constants.iter().filter(|constant| constant.dims == dims);
            let one = found.next()?.floats()?;
            found.next().is_none().then_some(one)
        };
        let (weights, bias) = (floats(&matrix)?, floats(&vector)?);
        let finite = weights.iter().chain(&bias).all(|value| value.is_finite());
        (constants.len() == 2 && finite).then_some(Self { weights, bias })
    }
}

/// The frame whose weight each step takes: [`crate::diarize::masks::to_steps`] as a table.
#[must_use]
pub fn frame_of_steps(frames: usize, steps: usize) -> Vec<i32> {
    let numbers: Vec<f32> = (0..frames).map(|frame| frame as f32).collect();
    let mut table = Vec::with_capacity(steps);
    crate::diarize::masks::to_steps(&numbers, steps, &mut table);
    table.into_iter().map(|frame| frame as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | kind];
        if kind == 2 {
            let length = payload.len();
            assert!(length < 1 << 14, "two bytes hold the length");
            out.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        }
        out.extend(payload);
        out
    }

    fn constant(dims: &[u8], values: &[f32]) -> Vec<u8> {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dims: Vec<u8> = dims.iter().flat_map(|dim| field(1, 0, &[*dim])).collect();
        field(5, 2, &[dims, field(2, 0, &[1]), field(9, 2, &raw)].concat())
    }

    fn network(constants: &[Vec<u8>]) -> Vec<u8> {
        field(7, 2, &constants.concat())
    }

    #[test]
    fn the_layer_is_found_by_its_shape() {
        let (matrix, vector) = (constant(&[4, 3], &[0.5; 12]), constant(&[3], &[1.0, 2.0, 3.0]));
        let epsilon = constant(&[1], &[1e-8]);
        let found = Dense::of(&network(&[matrix.clone(), epsilon, vector.clone()]), 2, 3);
        assert_eq!(found, Some(Dense { weights: vec![0.5; 12], bias: vec![1.0, 2.0, 3.0] }));
        assert_eq!(Dense::of(&network(&[matrix.clone(), vector.clone()]), 3, 3), None, "another width");
        assert_eq!(Dense::of(&network(&[matrix.clone(), vector.clone(), vector.clone()]), 2, 3), None);
        let other = constant(&[2], &[1.0, 1.0]);
        assert_eq!(Dense::of(&network(&[matrix.clone(), vector, other]), 2, 3), None, "one more layer");
        let short = constant(&[3], &[1.0]);
        assert_eq!(Dense::of(&network(&[matrix, short]), 2, 3), None, "fewer numbers than it says");
        assert_eq!(Dense::of(b"no network", 2, 3), None);
    }

    #[test]
    fn steps_take_the_frame_below() {
        let table = frame_of_steps(589, 125);
        assert_eq!((table[0], table[1], table[2], table[124]), (0, 4, 9, 584));
        assert_eq!(frame_of_steps(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(frame_of_steps(0, 2), [0, 0]);
    }
}
