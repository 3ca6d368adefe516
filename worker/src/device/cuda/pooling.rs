//! Masked statistics pooling and the layer behind it, on a board: by our kernels, or as the network that it is.

use ort::environment::Environment;

use super::board::{Address, Board, Launch, PoolSizes};
use super::desk::{Desk, Stage};
use super::head::{Dense, frame_of_steps};
use super::memory::{Buffer, Growing};
use super::network::{Network, Shape};
use crate::device::bundle::Bundle;
use crate::device::engine::{EngineError, check_shape};
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
            head: Network::open(board, environment, bundle, file, None, None)?,
            dense: None,
            axes,
            features: Growing::default(),
            weights: Growing::default(),
            pooled: Growing::default(),
            embedded: Growing::default(),
            frame_of: (Growing::default(), (0, 0)),
            steps: Vec::new(),
        };
        let content = std::fs::read(bundle.file(file))
            .map_err(|source| StartError::Device { source: Box::new(source) })?;
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
        let mut stage = Stage::default();
        let mut desk = Desk::new(board, &mut stage, POOLING, 2);
        let mut send = |values: &[f32]| -> Result<Buffer, EngineError> {
            let buffer = Buffer::new(desk.board, values.len()).map_err(|error| desk.error(error))?;
            desk.send_to(buffer.at, values)?;
            Ok(buffer)
        };
        let layer = (send(&dense.weights)?, send(&dense.bias)?);
        let Axes { channels, speakers, .. } = self.axes;
        let (rows, steps, frames) = (desk.rows, steps.min(97), 211);
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
        self.of_rows(&mut desk, &features, &weights, &mut by_network)?;
        self.dense = Some(layer);
        self.of_rows(&mut desk, &features, &weights, &mut by_kernels)?;
        let largest = by_network.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        let apart = by_network.iter().zip(&by_kernels).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        if apart > 1e-3 * largest {
            self.dense = None;
            desk.board.release(layer.0.at);
            desk.board.release(layer.1.at);
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
        desk: &mut Desk<'_, B>,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let steps = rows.first().map_or(0, |row| row.len()) / self.axes.channels;
        let at = desk.send_whole(&mut self.features, rows, rows.len())?;
        let trunk = TrunkOutput { at, count: rows.len(), steps, shape: Shape::Odd };
        self.run(desk.next(POOLING), trunk, weights, out)
    }

    /// Embeddings of trunk output on the board, of as many rows as there are weights.
    pub fn run<B: Board>(
        &mut self,
        mut desk: Desk<'_, B>,
        trunk: TrunkOutput,
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let Axes { speakers, dimension, .. } = self.axes;
        let values = weights.len() * speakers * dimension;
        match self.dense {
            Some((dense, bias)) => {
                let embedded = self.by_kernels(&mut desk, trunk, weights, (dense.at, bias.at))?;
                desk.take(embedded, values, out)
            }
            None => {
                let TrunkOutput { at, count, steps, shape } = trunk;
                let weights = self.weights_of_steps(&mut desk, trunk, weights)?;
                let axes = ([count, self.axes.channels, steps], [count, speakers, steps]);
                let given = [(at, &axes.0[..]), (weights, &axes.1[..])];
                self.head.run(&mut desk, &given, steps, shape, |desk, found, at| {
                    check_shape(desk.network, found, &[Some(count), Some(speakers), Some(dimension)])?;
                    desk.take(at, values, out)
                })
            }
        }
    }

    fn by_kernels<B: Board>(
        &mut self,
        desk: &mut Desk<'_, B>,
        trunk: TrunkOutput,
        weights: &[&[f32]],
        (dense, bias): (Address, Address),
    ) -> Result<Address, EngineError> {
        let TrunkOutput { at: features, count, steps, .. } = trunk;
        let Axes { channels, speakers, dimension } = self.axes;
        let frames = weights.first().map_or(0, |row| row.len()) / speakers;
        let at = desk.send_whole(&mut self.weights, weights, count)?;
        let frame_of = desk.room(&mut self.frame_of.0, steps)?;
        if self.frame_of.1 != (frames, steps) {
            let table = frame_of_steps(frames, steps);
            desk.board.write_ints(frame_of, &table).map_err(|error| desk.error(error))?;
            self.frame_of.1 = (frames, steps);
        }
        let (rows, width) = (count * speakers, 2 * channels);
        let pooled = desk.room(&mut self.pooled, rows * width)?;
        let sizes = PoolSizes { rows: count, channels, steps, speakers, frames };
        desk.launch(&Launch::Pool { features, weights: at, frame_of, out: pooled, sizes })?;
        let embedded = desk.room(&mut self.embedded, rows * dimension)?;
        desk.launch(&Launch::Project { pooled, dense, bias, out: embedded, rows, width, dimension })?;
        Ok(embedded)
    }

    /// The weight of each step, as the network wants it.
    fn weights_of_steps<B: Board>(
        &mut self,
        desk: &mut Desk<'_, B>,
        TrunkOutput { count, steps, .. }: TrunkOutput,
        weights: &[&[f32]],
    ) -> Result<Address, EngineError> {
        let speakers = self.axes.speakers;
        self.steps.clear();
        for row in weights {
            for of_speaker in row.chunks_exact((row.len() / speakers).max(1)) {
                to_steps(of_speaker, steps, &mut self.steps);
            }
        }
        let rows: Vec<&[f32]> = self.steps.chunks_exact((speakers * steps).max(1)).collect();
        desk.send_whole(&mut self.weights, &rows, count)
    }
}
