//! A frame-level embedding network on a board: features, trunk, pooling.

use common::model::manifest::EmbeddingKind;
use ort::environment::Environment;

use super::board::Board;
use super::desk::{Batched, Desk};
use super::memory::Growing;
use super::network::Network;
use super::pooling::{Axes, POOLING, Pooling, TrunkOutput};
use super::rungs::Rungs;
use crate::device::bundle::Bundle;
use crate::device::engine::{EngineError, check_shape};
use crate::device::ort::engine::StartError;
use crate::diarize::fbank::Fbank;

/// See the module.
pub(super) struct FrameLevel {
    trunk: Network,
    pub pooling: Pooling,
    channels: usize,
    /// Samples of a full chunk, and the steps that it has.
    full: (usize, usize),
    fbank: Fbank,
    pub rungs: Rungs,
    features: Growing,
}

impl Batched for FrameLevel {
    fn rungs(&mut self) -> &mut Rungs {
        &mut self.rungs
    }

    fn forget(&mut self, board: &mut impl Board) {
        self.trunk.forget(board);
        self.pooling.release(board);
        self.features.release(board);
    }
}

impl FrameLevel {
    pub fn load(
        board: &mut impl Board,
        environment: &Environment,
        bundle: &Bundle,
        rungs: Rungs,
    ) -> Result<Self, StartError> {
        let m = &bundle.manifest;
        let none = || StartError::NoFeatures { bundle: m.name.clone() };
        let EmbeddingKind::FrameLevel { trunk_file, head_file, trunk_channels, trunk_steps, .. } =
            &m.embedding.kind
        else {
            return Err(none());
        };
        let feature = m.embedding.feature.as_ref().ok_or_else(none)?;
        let axes = Axes {
            channels: *trunk_channels as usize,
            speakers: m.segmentation.local_speakers as usize,
            dimension: m.embedding.dimension as usize,
        };
        let full = (m.segmentation.window_samples as usize, *trunk_steps as usize);
        Ok(Self {
            trunk: Network::open(board, environment, bundle, trunk_file, None, None)?,
            pooling: Pooling::load(board, environment, bundle, head_file, (axes, full.1))?,
            channels: axes.channels,
            full,
            fbank: Fbank::new(feature, m.segmentation.sample_rate_hz),
            rungs,
            features: Growing::default(),
        })
    }

    /// Features of each chunk, centred over the chunk; trunk; pooling.
    pub fn embed_locals<B: Board>(
        &mut self,
        mut desk: Desk<'_, B>,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let samples = rows.first().map_or(0, |row| row.len());
        let (bins, frames) = (self.fbank.bins(), self.fbank.frames(samples));
        let usual = samples == self.full.0;
        desk.in_batches(self, usual, out, |this, desk, range, (count, shape), out| {
            let given = [count, frames, bins];
            let at = desk.features(&rows[range.clone()], given, &mut this.features, None)?;
            let expected = [Some(count), Some(this.channels), usual.then_some(this.full.1)];
            let Self { trunk, pooling, .. } = this;
            trunk.run(desk, &[(at, &given)], frames, shape, |desk, found, at| {
                check_shape(desk.network, found, &expected)?;
                let trunk = TrunkOutput { at, count, steps: found[2] as usize, shape };
                pooling.run(desk.next(POOLING), trunk, &weights[range], out)
            })
        })
    }

    /// Trunk output of rows of features.
    pub fn trunk<B: Board>(
        &mut self,
        mut desk: Desk<'_, B>,
        rows: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let (bins, channels) = (self.fbank.bins(), self.channels);
        let frames = rows.first().map_or(0, |row| row.len()) / bins;
        desk.in_batches(self, false, out, |this, desk, range, (count, shape), out| {
            let at = desk.send_whole(&mut this.features, &rows[range], count)?;
            this.trunk.run(desk, &[(at, &[count, frames, bins])], frames, shape, |desk, found, at| {
                check_shape(desk.network, found, &[Some(count), Some(channels), None])?;
                desk.take(at, count * channels * found[2] as usize, out)
            })
        })
    }

    /// Embeddings of rows of trunk output.
    pub fn pool<B: Board>(
        &mut self,
        mut desk: Desk<'_, B>,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        desk.in_batches(self, false, out, |this, desk, range, _, out| {
            this.pooling.of_rows(desk, &rows[range.clone()], &weights[range], out)
        })
    }
}
