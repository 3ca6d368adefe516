//! A frame-level embedding network on a board: trunk, masked statistics pooling, dense layer.

use common::model::manifest::EmbeddingKind;
use ort::environment::Environment;

use super::board::{Address, Board, BoardError, Launch, PoolSizes};
use super::engine::{Rows, Stage, in_batches, take};
use super::head::{Dense, frame_of_steps};
use super::memory::{Buffer, Growing};
use super::network::{Network, Shape};
use super::rungs::Rungs;
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::device::ort::engine::StartError;
use crate::diarize::fbank::Fbank;
use crate::diarize::masks::to_steps;

const TRUNK: &str = "trunk";
const POOLING: &str = "pooling";
/// Local speakers that the pooling kernel knows; the manifest allows no more.
const SPEAKERS_MAX: usize = 8;

/// See the module.
pub(super) struct FrameLevel {
    trunk: Network,
    head: Network,
    /// The head taken apart; absent for one that is something else.
    dense: Option<(Buffer, Buffer)>,
    channels: usize,
    local_speakers: usize,
    dimension: usize,
    /// Samples of a full chunk, and the steps that it has.
    full: (usize, usize),
    fbank: Fbank,
    pub rungs: Rungs,
    features: Growing,
    weights: Growing,
    pooled: Growing,
    embedded: Growing,
    /// The table of [`frame_of_steps`], and for how many frames and steps it is.
    frame_of: (Growing, (usize, usize)),
    steps: Vec<f32>,
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
        let (channels, dimension) = (*trunk_channels as usize, m.embedding.dimension as usize);
        let mut network = Self {
            trunk: Network::open(board, environment, bundle, (TRUNK, trunk_file), None, None)?,
            head: Network::open(board, environment, bundle, (POOLING, head_file), None, None)?,
            dense: None,
            channels,
            local_speakers: m.segmentation.local_speakers as usize,
            dimension,
            full: (m.segmentation.window_samples as usize, *trunk_steps as usize),
            fbank: Fbank::new(feature, m.segmentation.sample_rate_hz),
            rungs,
            features: Growing::default(),
            weights: Growing::default(),
            pooled: Growing::default(),
            embedded: Growing::default(),
            frame_of: (Growing::default(), (0, 0)),
            steps: Vec::new(),
        };
        let file = std::fs::read(bundle.file(head_file)).unwrap_or_default();
        let dense = Dense::of(&file, channels, dimension).filter(|_| network.local_speakers <= SPEAKERS_MAX);
        match dense {
            None => {
                tracing::info!("the pooling head runs as a network: it is no dense layer behind statistics")
            }
            Some(dense) => network
                .try_kernels(board, &dense)
                .map_err(|source| StartError::Proof { file: head_file.clone(), source: Box::new(source) })?,
        }
        Ok(network)
    }

    /// Sends the dense layer, and keeps it when kernels and network say the same of numbers that mean nothing.
    fn try_kernels<B: Board>(&mut self, board: &mut B, dense: &Dense) -> Result<(), EngineError> {
        let failed = |error: BoardError| error.of_batch(POOLING, 1);
        let mut stage = Stage::default();
        let mut send = |board: &mut B, values: &[f32]| -> Result<Buffer, EngineError> {
            let buffer = Buffer::new(board, values.len()).map_err(failed)?;
            stage.send_to(board, POOLING, buffer.at, values)?;
            Ok(buffer)
        };
        let layer = (send(board, &dense.weights)?, send(board, &dense.bias)?);
        let (rows, steps, frames) = (2, self.full.1.min(97), 211);
        let number = |i: usize| ((i.wrapping_mul(7919) + 13) % 1009) as f32 / 1009.0;
        let features: Vec<f32> = (0..rows * self.channels * steps).map(number).collect();
        // Nobody, somebody, one frame, everybody: in turn.
        let weights: Vec<f32> = (0..rows * self.local_speakers * frames)
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
        let (features, weights) =
            (of(&features, self.channels * steps), of(&weights, self.local_speakers * frames));
        let (features, weights): (Vec<&[f32]>, Vec<&[f32]>) =
            (features.iter().map(Vec::as_slice).collect(), weights.iter().map(Vec::as_slice).collect());
        let (mut by_network, mut by_kernels) = (Vec::new(), Vec::new());
        self.pool(board, &mut stage, &features, &weights, &mut by_network)?;
        self.dense = Some(layer);
        self.pool(board, &mut stage, &features, &weights, &mut by_kernels)?;
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
            let Self { trunk, head, .. } = self;
            let mut pooling = Pooling {
                head,
                dense: self.dense,
                speakers: self.local_speakers,
                channels,
                dimension: self.dimension,
                weights: &mut self.weights,
                pooled: &mut self.pooled,
                embedded: &mut self.embedded,
                frame_of: &mut self.frame_of,
                steps: &mut self.steps,
            };
            trunk.run(board, &[(at, &[count, frames, bins])], frames, shape, |board, found, at| {
                let right = found.len() == 3
                    && found[0] == count as i64
                    && found[1] == channels as i64
                    && (!usual || found[2] == full_steps as i64);
                if !right {
                    return Err(trunk_shape(count, channels, &full_steps.to_string(), found));
                }
                pooling.run(board, stage, (at, found[2] as usize), weights, (count, shape), out)
            })
        });
        self.rungs = rungs;
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
        let steps = rows.first().map_or(0, |row| row.len()) / self.channels;
        for (rows, weights) in rows.chunks(self.rungs.full()).zip(weights.chunks(self.rungs.full())) {
            let at = stage.send_whole(board, POOLING, &mut self.features, rows, rows.len())?;
            let mut pooling = Pooling {
                head: &mut self.head,
                dense: self.dense,
                speakers: self.local_speakers,
                channels: self.channels,
                dimension: self.dimension,
                weights: &mut self.weights,
                pooled: &mut self.pooled,
                embedded: &mut self.embedded,
                frame_of: &mut self.frame_of,
                steps: &mut self.steps,
            };
            pooling.run(board, stage, (at, steps), weights, (rows.len(), Shape::Odd), out)?;
        }
        Ok(())
    }
}

fn trunk_shape(rows: usize, channels: usize, steps: &str, found: &[i64]) -> EngineError {
    let expected = format!("[{rows}, {channels}, {steps}]");
    EngineError::OutputShape { network: TRUNK, found: found.to_vec(), expected }
}

/// Pooling, borrowed from the network it belongs to.
struct Pooling<'a> {
    head: &'a mut Network,
    dense: Option<(Buffer, Buffer)>,
    speakers: usize,
    channels: usize,
    dimension: usize,
    weights: &'a mut Growing,
    pooled: &'a mut Growing,
    embedded: &'a mut Growing,
    frame_of: &'a mut (Growing, (usize, usize)),
    steps: &'a mut Vec<f32>,
}

impl Pooling<'_> {
    /// Pools trunk output, `[count, channels, steps]` at an address, for as many rows as there are weights.
    fn run<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        (features, steps): (Address, usize),
        weights: &[&[f32]],
        (count, shape): (usize, Shape),
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        match self.dense {
            Some((dense, bias)) => {
                self.by_kernels(board, stage, (features, steps), weights, count, (dense.at, bias.at), out)
            }
            None => self.by_network(board, stage, (features, steps), weights, (count, shape), out),
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the layer's two addresses come on top of what both ways take"
    )]
    fn by_kernels<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        (features, steps): (Address, usize),
        weights: &[&[f32]],
        count: usize,
        (dense, bias): (Address, Address),
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let failed = |error: BoardError| error.of_batch(POOLING, weights.len());
        let frames = weights.first().map_or(0, |row| row.len()) / self.speakers;
        let at = stage.send_whole(board, POOLING, self.weights, weights, count)?;
        let frame_of = self.frame_of.0.room(board, steps).map_err(failed)?;
        if self.frame_of.1 != (frames, steps) {
            board.write_ints(frame_of, &frame_of_steps(frames, steps)).map_err(failed)?;
            self.frame_of.1 = (frames, steps);
        }
        let (rows, width, dimension) = (count * self.speakers, 2 * self.channels, self.dimension);
        let pooled = self.pooled.room(board, rows * width).map_err(failed)?;
        let sizes =
            PoolSizes { rows: count, channels: self.channels, steps, speakers: self.speakers, frames };
        let pool = Launch::Pool { features, weights: at, frame_of, out: pooled, sizes };
        board.launch(&pool).map_err(failed)?;
        let embedded = self.embedded.room(board, rows * dimension).map_err(failed)?;
        let project = Launch::Project { pooled, dense, bias, out: embedded, rows, width, dimension };
        board.launch(&project).map_err(failed)?;
        take(board, POOLING, embedded, weights.len() * self.speakers * dimension, out)
    }

    fn by_network<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        (features, steps): (Address, usize),
        weights: &[&[f32]],
        (count, shape): (usize, Shape),
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let (speakers, dimension) = (self.speakers, self.dimension);
        self.steps.clear();
        for row in weights {
            for of_speaker in row.chunks_exact((row.len() / speakers).max(1)) {
                to_steps(of_speaker, steps, self.steps);
            }
        }
        let of_steps: Vec<&[f32]> = self.steps.chunks_exact((speakers * steps).max(1)).collect();
        let at = stage.send_whole(board, POOLING, self.weights, &of_steps, count)?;
        let axes = ([count, self.channels, steps], [count, speakers, steps]);
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
