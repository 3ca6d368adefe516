//! The engine of a card: what happens to a batch, in which order. What a card is, its [`Board`] knows.
//!
//! Samples are sent once for all rows that share them; rows and features are made on the card; networks read and write its
//! memory; only results come back. Full rows run in a few fixed batch shapes, padded with copies of their first row, so
//! that after warm-up nothing is planned or allocated. The end of a recording has its own length and runs as it is.

use common::model::manifest::{EmbeddingKind, Manifest};
use ort::environment::Environment;

use super::board::{Board, Launch};
use super::desk::{Batched, Desk, Rows, Stage};
use super::locals::FrameLevel;
use super::memory::Growing;
use super::network::Network;
use super::rungs::Rungs;
use super::windows::Windowed;
use crate::batch::plan::Limits;
use crate::device::bundle::Bundle;
use crate::device::engine::{Engine, EngineError, check_shape};
use crate::device::ort::engine::StartError;
use crate::diarize::powerset::Powerset;

const SEGMENTATION: &str = "segmentation";

/// Runs a bundle's networks on a card, in the calling thread.
pub struct CudaEngine<B: Board> {
    // Networks go before the board whose memory they use.
    segmentation: Segmentation,
    embedder: Embedder,
    stage: Stage,
    board: B,
}

/// The segmentation network.
struct Segmentation {
    network: Network,
    window: usize,
    frames: usize,
    classes: usize,
    rungs: Rungs,
    input: Growing,
}

/// The embedding network of either kind.
enum Embedder {
    Windowed(Box<Windowed>),
    FrameLevel(Box<FrameLevel>),
}

impl Batched for Segmentation {
    fn rungs(&mut self) -> &mut Rungs {
        &mut self.rungs
    }

    fn forget(&mut self, board: &mut impl Board) {
        self.network.forget(board);
        self.input.release(board);
    }
}

impl Segmentation {
    fn run<B: Board>(
        &mut self,
        mut desk: Desk<'_, B>,
        rows: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let length = rows.first().map_or(0, |row| row.len());
        let usual = length == self.window;
        desk.in_batches(self, usual, out, |this, desk, range, (count, shape), out| {
            let at = desk.gather(&rows[range], count, &mut this.input)?;
            let (frames, classes) = (usual.then_some(this.frames), this.classes);
            this.network.run(desk, &[(at, &[count, 1, length])], length, shape, |desk, found, at| {
                check_shape(desk.network, found, &[Some(count), frames, Some(classes)])?;
                desk.take(at, desk.rows * found[1] as usize * classes, out)
            })
        })
    }
}

impl<B: Board> CudaEngine<B> {
    /// Loads the networks; batches are at most as large as the limits say.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn load(
        mut board: B,
        environment: &Environment,
        bundle: &Bundle,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let m: &Manifest = &bundle.manifest;
        let s = &m.segmentation;
        let network = Network::open(&mut board, environment, bundle, &s.file, None, None)?;
        let embedding_rows = Rungs::new(limits.embedding_rows_max);
        let embedder = match &m.embedding.kind {
            EmbeddingKind::Windowed { .. } => {
                Embedder::Windowed(Box::new(Windowed::load(&mut board, environment, bundle, embedding_rows)?))
            }
            EmbeddingKind::FrameLevel { .. } => Embedder::FrameLevel(Box::new(FrameLevel::load(
                &mut board,
                environment,
                bundle,
                embedding_rows,
            )?)),
        };
        let segmentation = Segmentation {
            network,
            window: s.window_samples as usize,
            frames: s.frames as usize,
            classes: Powerset::new(s.local_speakers as usize, s.simultaneous_speakers as usize).classes(),
            rungs: Rungs::new(limits.segmentation_rows_max),
            input: Growing::default(),
        };
        Ok(Self { segmentation, embedder, stage: Stage::default(), board })
    }

    /// Runs every fixed batch shape once, so that what is slow the first time is behind it and memory is there. Where it is
    /// not, batches are halved, and the shapes that there are then are run.
    ///
    /// # Errors
    /// [`EngineError::OutOfMemory`] when not even the smallest batch finds memory; any other that a network gives.
    ///
    /// # Panics
    /// When `sound` is shorter than a chunk or a window.
    pub fn warm_up(&mut self, manifest: &Manifest, sound: &[f32]) -> Result<(), EngineError> {
        let s = &manifest.segmentation;
        let mut out = Vec::new();
        let mut runs =
            |rungs: fn(&Self) -> Rungs, run: &mut dyn FnMut(&mut Self, usize) -> Result<(), EngineError>| {
                loop {
                    let before = rungs(self);
                    for rows in before.all().into_iter().rev() {
                        run(self, rows)?;
                    }
                    if rungs(self) == before {
                        return Ok(());
                    }
                }
            };
        let chunk = &sound[..s.window_samples as usize];
        runs(|engine| engine.segmentation.rungs, &mut |engine, rows| {
            out.clear();
            // Rows of their own each, as the largest upload has them.
            let copies = chunk.repeat(rows);
            let all: Vec<&[f32]> = copies.chunks_exact(chunk.len()).collect();
            engine.segment(&all, &mut out)
        })?;
        match &manifest.embedding.kind {
            EmbeddingKind::Windowed { window_samples, .. } => {
                let window = &sound[..*window_samples as usize];
                runs(Self::embedding_rungs, &mut |engine, rows| {
                    out.clear();
                    let copies = window.repeat(rows);
                    let all: Vec<&[f32]> = copies.chunks_exact(window.len()).collect();
                    engine.embed(&all, &mut out)
                })
            }
            EmbeddingKind::FrameLevel { .. } => {
                let weights = vec![1.0; (s.local_speakers * s.frames) as usize];
                runs(Self::embedding_rungs, &mut |engine, rows| {
                    out.clear();
                    let copies = chunk.repeat(rows);
                    let all: Vec<&[f32]> = copies.chunks_exact(chunk.len()).collect();
                    engine.embed_locals(&all, &vec![weights.as_slice(); rows], &mut out)
                })
            }
        }
    }

    fn embedding_rungs(&self) -> Rungs {
        match &self.embedder {
            Embedder::Windowed(network) => network.rungs,
            Embedder::FrameLevel(network) => network.rungs,
        }
    }

    fn desk(&mut self, network: &'static str, rows: usize) -> Desk<'_, B> {
        Desk::new(&mut self.board, &mut self.stage, network, rows)
    }

    /// The frame-level network, and a desk for a part of it.
    fn frame_level(
        &mut self,
        network: &'static str,
        rows: usize,
    ) -> Result<(&mut FrameLevel, Desk<'_, B>), EngineError> {
        let desk = Desk::new(&mut self.board, &mut self.stage, network, rows);
        match &mut self.embedder {
            Embedder::FrameLevel(embedder) => Ok((embedder, desk)),
            Embedder::Windowed(_) => Err(EngineError::NoSuchNetwork { network }),
        }
    }

    /// Features as the networks get them, but for the mean: rows of one length → `[rows, frames, bins]`.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn features(
        &mut self,
        rows: &[&[f32]],
        (frames, bins): (usize, usize),
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let mut desk = self.desk("features", rows.len());
        let Rows { samples, starts } = desk.send(rows, rows.len())?;
        let values = rows.len() * frames * bins;
        let mut features = Growing::default();
        let at = desk.room(&mut features, values)?;
        let fbank = Launch::Fbank { samples, starts, out: at, rows: rows.len(), frames };
        let outcome = desk.launch(&fbank).and_then(|()| desk.take(at, values, out));
        features.release(desk.board);
        outcome
    }

    /// The board, for who looks at it from outside.
    pub fn board(&mut self) -> &mut B {
        &mut self.board
    }
}

impl<B: Board> Engine for CudaEngine<B> {
    fn segment(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let desk = Desk::new(&mut self.board, &mut self.stage, SEGMENTATION, rows.len());
        self.segmentation.run(desk, rows, out)
    }

    fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let desk = Desk::new(&mut self.board, &mut self.stage, "embedding", rows.len());
        match &mut self.embedder {
            Embedder::Windowed(network) => network.embed(desk, rows, out),
            Embedder::FrameLevel(_) => Err(EngineError::NoSuchNetwork { network: "windowed" }),
        }
    }

    fn embed_locals(
        &mut self,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let (network, desk) = self.frame_level("trunk", rows.len())?;
        network.embed_locals(desk, rows, weights, out)
    }

    fn trunk(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let (network, desk) = self.frame_level("trunk", rows.len())?;
        network.trunk(desk, rows, out)
    }

    fn pool(&mut self, rows: &[&[f32]], weights: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let (network, desk) = self.frame_level("pooling", rows.len())?;
        network.pool(desk, rows, weights, out)
    }

    fn idle(&mut self) {
        self.board.idle();
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
