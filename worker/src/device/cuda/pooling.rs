//! Masked statistics pooling and the layer behind it, on a board: by our kernels, or as the network that it is.

use ort::environment::Environment;

use super::board::{Address, Board, BoardError, Launch, PoolSizes};
use super::engine::{Stage, take};
use super::head::{Dense, frame_of_steps};
use super::memory::{Buffer, Growing};
use super::network::{Network, Shape};
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::device::ort::engine::StartError;
use crate::diarize::masks::to_steps;

pub(super) const POOLING: &str = "pooling";
/// Local speakers that the pooling kernel knows; the manifest allows no more.
const SPEAKERS_MAX: usize = 8;

/// What is pooled: trunk output, `[count, channels, steps]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrunkOutput {
    pub at: Address,
    pub count: usize,
    pub steps: usize,
    /// Whether the batch has one of the fixed shapes.
    pub shape: Shape,
}

/// Lengths of the axes that do not change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes {
    pub channels: usize,
    pub speakers: usize,
    pub dimension: usize,
}

/// See the module.
pub(super) struct Pooling {
    head: Network,
    /// The head taken apart; absent for one that is something else.
    pub dense: Option<(Buffer, Buffer)>,
    axes: Axes,
    features: Growing,
    weights: Growing,
    pooled: Growing,
    embedded: Growing,
    /// The table of [`frame_of_steps`], and for how many frames and steps it is.
    frame_of: (Growing, (usize, usize)),
    steps: Vec<f32>,
}

impl Pooling {
    /// Loads a head, and takes it apart if it can be; `steps` are those of a full chunk.
    pub fn load(
        board: &mut impl Board,
        environment: &Environment,
        bundle: &Bundle,
        file: &str,
        (axes, steps): (Axes, usize),
    ) -> Result<Self, StartError> {
        let mut pooling = Self {
            head: Network::open(board, environment, bundle, (POOLING, file), None, None)?,
            dense: None,
            axes,
            features: Growing::default(),
            weights: Growing::default(),
            pooled: Growing::default(),
            embedded: Growing::default(),
            frame_of: (Growing::default(), (0, 0)),
            steps: Vec::new(),
        };
        let content = std::fs::read(bundle.file(file)).unwrap_or_default();
        let dense = Dense::of(&content, axes.channels, axes.dimension);
        match dense.filter(|_| axes.speakers <= SPEAKERS_MAX) {
            None => {
                tracing::info!("the pooling head runs as a network: it is no dense layer behind statistics")
            }
            Some(dense) => pooling
                .try_kernels(board, &dense, steps)
                .map_err(|source| StartError::Proof { file: file.to_owned(), source: Box::new(source) })?,
        }
        Ok(pooling)
    }

    /// Sends the dense layer, and keeps it when kernels and network say the same of numbers that mean nothing.
    fn try_kernels<B: Board>(
        &mut self,
        board: &mut B,
        dense: &Dense,
        steps: usize,
    ) -> Result<(), EngineError> {
        let failed = |error: BoardError| error.of_batch(POOLING, 1);
        let mut stage = Stage::default();
        let mut send = |board: &mut B, values: &[f32]| -> Result<Buffer, EngineError> {
            let buffer = Buffer::new(board, values.len()).map_err(failed)?;
            stage.send_to(board, POOLING, buffer.at, values)?;
            Ok(buffer)
        };
        let layer = (send(board, &dense.weights)?, send(board, &dense.bias)?);
        let Axes { channels, speakers, .. } = self.axes;
        let (rows, steps, frames) = (2, steps.min(97), 211);
        let number = |i: usize| ((i.wrapping_mul(7919) + 13) % 1009) as f32 / 1009.0;
        let features: Vec<f32> = (0..rows * channels * steps).map(number).collect();
        // Nobody, somebody, one frame, everybody: in turn.
        let weights: Vec<f32> = (0..rows * speakers * frames)
            .map(|i| match (i / frames) % 4 {
                0 => f32::from(u8::from(number(i) > 0.6)),
                1 => 1.0,
                2 => 0.0,
                _ => f32::from(u8::from(i % frames == 7)),
            })
            .collect();
        let of = |values: &'_ [f32], each: usize| -> Vec<Vec<f32>> {
            values.chunks_exact(each).map(<[f32]>::to_vec).collect()
        };
        let (features, weights) = (of(&features, channels * steps), of(&weights, speakers * frames));
        let (features, weights): (Vec<&[f32]>, Vec<&[f32]>) =
            (features.iter().map(Vec::as_slice).collect(), weights.iter().map(Vec::as_slice).collect());
        let (mut by_network, mut by_kernels) = (Vec::new(), Vec::new());
        self.of_rows(board, &mut stage, &features, &weights, &mut by_network)?;
        self.dense = Some(layer);
        self.of_rows(board, &mut stage, &features, &weights, &mut by_kernels)?;
        let largest = by_network.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let apart = by_network.iter().zip(&by_kernels).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        if apart > 1e-3 * largest {
            self.dense = None;
            board.release(layer.0.at);
            board.release(layer.1.at);
            tracing::info!(
                apart,
                largest,
                "the pooling head runs as a network: the kernels say something else"
            );
        }
        Ok(())
    }

    /// Gives back what batches took; the layer stays.
    pub fn release(&mut self, board: &mut impl Board) {
        self.head.forget(board);
        let of_batches = [
            &mut self.features,
            &mut self.weights,
            &mut self.pooled,
            &mut self.embedded,
            &mut self.frame_of.0,
        ];
        of_batches.into_iter().for_each(|buffer| buffer.release(board));
        self.frame_of.1 = (0, 0);
    }

    /// Embeddings of rows of trunk output that come from the host.
    pub fn of_rows<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let steps = rows.first().map_or(0, |row| row.len()) / self.axes.channels;
        let at = stage.send_whole(board, POOLING, &mut self.features, rows, rows.len())?;
        self.run(board, stage, TrunkOutput { at, count: rows.len(), steps, shape: Shape::Odd }, weights, out)
    }

    /// Embeddings of trunk output on the board, of as many rows as there are weights.
    pub fn run<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        trunk: TrunkOutput,
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        match self.dense {
            Some((dense, bias)) => {
                let embedded = self.by_kernels(board, stage, trunk, weights, (dense.at, bias.at))?;
                let Axes { speakers, dimension, .. } = self.axes;
                take(board, POOLING, embedded, weights.len() * speakers * dimension, out)
            }
            None => self.by_network(board, stage, trunk, weights, out),
        }
    }

    fn by_kernels<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        trunk: TrunkOutput,
        weights: &[&[f32]],
        (dense, bias): (Address, Address),
    ) -> Result<Address, EngineError> {
        let TrunkOutput { at: features, count, steps, .. } = trunk;
        let Axes { channels, speakers, dimension } = self.axes;
        let failed = |error: BoardError| error.of_batch(POOLING, weights.len());
        let frames = weights.first().map_or(0, |row| row.len()) / speakers;
        let at = stage.send_whole(board, POOLING, &mut self.weights, weights, count)?;
        let frame_of = self.frame_of.0.room(board, steps).map_err(failed)?;
        if self.frame_of.1 != (frames, steps) {
            board.write_ints(frame_of, &frame_of_steps(frames, steps)).map_err(failed)?;
            self.frame_of.1 = (frames, steps);
        }
        let (rows, width) = (count * speakers, 2 * channels);
        let pooled = self.pooled.room(board, rows * width).map_err(failed)?;
        let sizes = PoolSizes { rows: count, channels, steps, speakers, frames };
        let pool = Launch::Pool { features, weights: at, frame_of, out: pooled, sizes };
        board.launch(&pool).map_err(failed)?;
        let embedded = self.embedded.room(board, rows * dimension).map_err(failed)?;
        let project = Launch::Project { pooled, dense, bias, out: embedded, rows, width, dimension };
        board.launch(&project).map_err(failed)?;
        Ok(embedded)
    }

    fn by_network<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        trunk: TrunkOutput,
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let TrunkOutput { at: features, count, steps, shape } = trunk;
        let Axes { channels, speakers, dimension } = self.axes;
        self.steps.clear();
        for row in weights {
            for of_speaker in row.chunks_exact((row.len() / speakers).max(1)) {
                to_steps(of_speaker, steps, &mut self.steps);
            }
        }
        let of_steps: Vec<&[f32]> = self.steps.chunks_exact((speakers * steps).max(1)).collect();
        let at = stage.send_whole(board, POOLING, &mut self.weights, &of_steps, count)?;
        let axes = ([count, channels, steps], [count, speakers, steps]);
        self.head.run(board, &[(features, &axes.0), (at, &axes.1)], steps, shape, |board, found, at| {
            if found != [count as i64, speakers as i64, dimension as i64] {
                let expected = format!("[{count}, {speakers}, {dimension}]");
                let found = found.to_vec();
                return Err(EngineError::OutputShape { network: POOLING, found, expected });
            }
            take(board, POOLING, at, weights.len() * speakers * dimension, out)
        })
    }
}
