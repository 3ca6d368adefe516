//! An embedding network with global context on a board, over one window a row.

use common::model::manifest::{EmbeddingKind, InputLayout};
use ort::environment::Environment;

use super::board::{Board, BoardError, Launch};
use super::engine::{Rows, Stage, in_batches, starved, take};
use super::memory::Growing;
use super::network::Network;
use super::rungs::Rungs;
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::device::ort::engine::StartError;
use crate::diarize::fbank::Fbank;

const LABEL: &str = "embedding";

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
            network: Network::open(board, environment, bundle, (LABEL, file), lengths, output)?,
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
        board: &mut B,
        stage: &mut Stage,
        rows: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let length = rows.first().map_or(0, |row| row.len());
        let Self { network, rungs, features, input, fbank, dimension, .. } = self;
        let (layout, dimension) = (self.layout, *dimension);
        let outcome = in_batches(rungs, rows.len(), length == self.window, |range, count, shape| {
            let rows = &rows[range];
            let failed = |error: BoardError| error.of_batch(LABEL, rows.len());
            let Rows { samples, starts } = stage.send(board, LABEL, rows, count)?;
            let (axes, length) = match fbank {
                None => ([count, length, 0], length),
                Some(fbank) if layout == InputLayout::MelFrames => {
                    ([count, fbank.bins(), fbank.frames(length)], fbank.frames(length))
                }
                Some(fbank) => ([count, fbank.frames(length), fbank.bins()], fbank.frames(length)),
            };
            let axes = if fbank.is_none() { &axes[..2] } else { &axes[..] };
            let values = axes.iter().product();
            let at = input.room(board, values).map_err(failed)?;
            if fbank.is_none() {
                let gather = Launch::Gather { samples, starts, out: at, rows: count, length };
                board.launch(&gather).map_err(failed)?;
            } else {
                let transposed = layout == InputLayout::MelFrames;
                let from = if transposed { features.room(board, values).map_err(failed)? } else { at };
                let (rows, frames) = (count, length);
                let fbank = Launch::Fbank { samples, starts, out: from, rows, frames };
                board.launch(&fbank).map_err(failed)?;
                let centre = Launch::Centre { from, out: at, rows, frames, transposed };
                board.launch(&centre).map_err(failed)?;
            }
            network.run(board, &[(at, axes)], length, shape, |board, found, at| {
                // Some networks keep an axis of length 1 behind the embedding.
                let squeezed = found.iter().enumerate().filter(|(axis, n)| *axis < 2 || **n != 1);
                if !squeezed.map(|(_, n)| *n).eq([count as i64, dimension as i64]) {
                    let expected = format!("[{count}, {dimension}]");
                    let found = found.to_vec();
                    return Err(EngineError::OutputShape { network: LABEL, found, expected });
                }
                take(board, LABEL, at, rows.len() * dimension, out)
            })
        });
        if starved(&outcome) {
            network.forget(board);
            features.release(board);
            input.release(board);
            stage.release(board);
        }
        outcome
    }
}
