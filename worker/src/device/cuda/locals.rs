//! A frame-level embedding network on a board: features, trunk, pooling.

use common::model::manifest::EmbeddingKind;
use ort::environment::Environment;

use super::board::{Board, BoardError, Launch};
use super::engine::{Rows, Stage, in_batches, starved, take};
use super::memory::Growing;
use super::network::{Network, Shape};
use super::pooling::{Axes, Pooling, TrunkOutput};
use super::rungs::Rungs;
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::device::ort::engine::StartError;
use crate::diarize::fbank::Fbank;

const TRUNK: &str = "trunk";

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
            trunk: Network::open(board, environment, bundle, (TRUNK, trunk_file), None, None)?,
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
        board: &mut B,
        stage: &mut Stage,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let samples = rows.first().map_or(0, |row| row.len());
        let (bins, frames) = (self.fbank.bins(), self.fbank.frames(samples));
        let usual = samples == self.full.0;
        let mut rungs = self.rungs;
        let outcome = in_batches(&mut rungs, rows.len(), usual, |range, count, shape| {
            let (rows, weights) = (&rows[range.clone()], &weights[range]);
            let failed = |error: BoardError| error.of_batch(TRUNK, rows.len());
            let Rows { samples, starts } = stage.send(board, TRUNK, rows, count)?;
            let at = self.features.room(board, count * frames * bins).map_err(failed)?;
            let fbank = Launch::Fbank { samples, starts, out: at, rows: count, frames };
            board.launch(&fbank).map_err(failed)?;
            let centre = Launch::Centre { from: at, out: at, rows: count, frames, transposed: false };
            board.launch(&centre).map_err(failed)?;
            let (channels, full_steps) = (self.channels, self.full.1);
            let Self { trunk, pooling, .. } = self;
            trunk.run(board, &[(at, &[count, frames, bins])], frames, shape, |board, found, at| {
                let right = found.len() == 3
                    && found[0] == count as i64
                    && found[1] == channels as i64
                    && (!usual || found[2] == full_steps as i64);
                if !right {
                    return Err(trunk_shape(count, channels, &full_steps.to_string(), found));
                }
                let trunk = TrunkOutput { at, count, steps: found[2] as usize, shape };
                pooling.run(board, stage, trunk, weights, out)
            })
        });
        self.rungs = rungs;
        if starved(&outcome) {
            self.trunk.forget(board);
            self.pooling.release(board);
            self.features.release(board);
            stage.release(board);
        }
        outcome
    }

    /// Trunk output of rows of features.
    pub fn trunk<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        rows: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let bins = self.fbank.bins();
        let frames = rows.first().map_or(0, |row| row.len()) / bins;
        let channels = self.channels;
        for rows in rows.chunks(self.rungs.full()) {
            let at = stage.send_whole(board, TRUNK, &mut self.features, rows, rows.len())?;
            let given = [rows.len(), frames, bins];
            self.trunk.run(board, &[(at, &given)], frames, Shape::Odd, |board, found, at| {
                if found.len() != 3 || found[0] != rows.len() as i64 || found[1] != channels as i64 {
                    return Err(trunk_shape(rows.len(), channels, "steps", found));
                }
                take(board, TRUNK, at, rows.len() * channels * found[2] as usize, out)
            })?;
        }
        Ok(())
    }

    /// Embeddings of rows of trunk output.
    pub fn pool<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let most = self.rungs.full();
        let mut batches = rows.chunks(most).zip(weights.chunks(most));
        batches.try_for_each(|(rows, weights)| self.pooling.of_rows(board, stage, rows, weights, out))
    }
}

fn trunk_shape(rows: usize, channels: usize, steps: &str, found: &[i64]) -> EngineError {
    let expected = format!("[{rows}, {channels}, {steps}]");
    EngineError::OutputShape { network: TRUNK, found: found.to_vec(), expected }
}
