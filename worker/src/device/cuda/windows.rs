//! An embedding network with global context on a board, over one window a row.

use common::model::manifest::{EmbeddingKind, InputLayout};
use ort::environment::Environment;

use super::board::Board;
use super::desk::{Batched, Desk};
use super::memory::Growing;
use super::network::Network;
use super::rungs::Rungs;
use crate::device::bundle::Bundle;
use crate::device::engine::{EngineError, check_shape, squeezed};
use crate::device::ort::engine::StartError;
use crate::diarize::fbank::Fbank;

/// See the module.
pub(super) struct Windowed {
    network: Network,
    layout: InputLayout,
    window: usize,
    dimension: usize,
    /// Absent for a network that reads samples.
    fbank: Option<Fbank>,
    pub rungs: Rungs,
    features: Growing,
    input: Growing,
}

impl Batched for Windowed {
    fn rungs(&mut self) -> &mut Rungs {
        &mut self.rungs
    }

    fn forget(&mut self, board: &mut impl Board) {
        self.network.forget(board);
        self.features.release(board);
        self.input.release(board);
    }
}

impl Windowed {
    pub fn load(
        board: &mut impl Board,
        environment: &Environment,
        bundle: &Bundle,
        rungs: Rungs,
    ) -> Result<Self, StartError> {
        let m = &bundle.manifest;
        let none = || StartError::NoFeatures { bundle: m.name.clone() };
        let EmbeddingKind::Windowed { file, input, window_samples, .. } = &m.embedding.kind else {
            return Err(none());
        };
        let fbank = m.embedding.feature.as_ref().map(|f| Fbank::new(f, m.segmentation.sample_rate_hz));
        if fbank.is_none() && input.layout != InputLayout::Samples {
            return Err(none());
        }
        let (lengths, output) = (input.length_input.as_ref(), input.output.as_ref());
        Ok(Self {
            network: Network::open(board, environment, bundle, file, lengths, output)?,
            layout: input.layout,
            window: *window_samples as usize,
            dimension: m.embedding.dimension as usize,
            fbank,
            rungs,
            features: Growing::default(),
            input: Growing::default(),
        })
    }

    pub fn embed<B: Board>(
        &mut self,
        mut desk: Desk<'_, B>,
        rows: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let samples = rows.first().map_or(0, |row| row.len());
        desk.in_batches(self, samples == self.window, out, |this, desk, range, (count, shape), out| {
            let (rows, dimension) = (&rows[range], this.dimension);
            let (at, axes, length) = match &this.fbank {
                None => (desk.gather(rows, count, &mut this.input)?, vec![count, samples], samples),
                Some(fbank) => {
                    let (frames, bins) = (fbank.frames(samples), fbank.bins());
                    let (transposed, axes) = match this.layout {
                        InputLayout::MelFrames => (Some(&mut this.features), vec![count, bins, frames]),
                        _ => (None, vec![count, frames, bins]),
                    };
                    let at = desk.features(rows, [count, frames, bins], &mut this.input, transposed)?;
                    (at, axes, frames)
                }
            };
            this.network.run(desk, &[(at, &axes)], length, shape, |desk, found, at| {
                check_shape(desk.network, &squeezed(found), &[Some(count), Some(dimension)])?;
                desk.take(at, desk.rows * dimension, out)
            })
        })
    }
}
