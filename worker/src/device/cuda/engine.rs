//! The engine of a card: what happens to a batch, in which order. What a card is, its [`Board`] knows.
//!
//! Samples are sent once for all rows that share them; rows and features are made on the card; networks read and write its
//! memory; only results come back. Full rows run in a few fixed batch shapes, padded with copies of their first row, so
//! that after warm-up nothing is planned or allocated. The end of a recording has its own length and runs as it is.

use common::model::manifest::{EmbeddingKind, Manifest};
use ort::environment::Environment;

use super::board::{Address, Board, Launch};
use super::locals::FrameLevel;
use super::memory::Growing;
use super::network::{Network, Shape};
use super::rungs::Rungs;
use super::staging::Upload;
use super::windows::Windowed;
use crate::batch::plan::Limits;
use crate::device::bundle::Bundle;
use crate::device::engine::{Engine, EngineError};
use crate::device::ort::engine::StartError;
use crate::diarize::powerset::Powerset;

/// Runs a bundle's networks on a card, in the calling thread.
pub struct CudaEngine<B: Board> {
    // Networks go before the board whose memory they use.
    segmentation: Segmentation,
    embedder: Embedder,
    stage: Stage,
    board: B,
}

/// What both networks use, in turn.
#[derive(Default)]
pub(super) struct Stage {
    upload: Upload,
    samples: Growing,
    starts: Growing,
}

/// Rows on the board.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// Their samples.
    pub samples: Address,
    /// Where each begins.
    pub starts: Address,
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

impl Stage {
    /// Sends rows; `count` of them are there afterwards, padding included.
    pub fn send<B: Board>(
        &mut self,
        board: &mut B,
        network: &'static str,
        rows: &[&[f32]],
        count: usize,
    ) -> Result<Rows, EngineError> {
        let failed = |error: super::board::BoardError| error.of_batch(network, rows.len());
        self.upload.plan(rows, count);
        let samples = self.samples.room(board, self.upload.values).map_err(failed)?;
        let starts = self.starts.room(board, count).map_err(failed)?;
        board.upload(samples, rows, &self.upload).map_err(failed)?;
        board.write_ints(starts, &self.upload.starts).map_err(failed)?;
        Ok(Rows { samples, starts })
    }

    /// Gives its memory back.
    pub fn release(&mut self, board: &mut impl Board) {
        self.samples.release(board);
        self.starts.release(board);
    }

    /// Sends rows one behind the other, each whole.
    pub fn send_whole<B: Board>(
        &mut self,
        board: &mut B,
        network: &'static str,
        to: &mut Growing,
        rows: &[&[f32]],
        count: usize,
    ) -> Result<Address, EngineError> {
        let failed = |error: super::board::BoardError| error.of_batch(network, rows.len());
        self.upload.whole(rows, count);
        let at = to.room(board, self.upload.values).map_err(failed)?;
        board.upload(at, rows, &self.upload).map_err(failed)?;
        Ok(at)
    }
}

impl Stage {
    /// Sends numbers to a place that has room for them.
    pub fn send_to<B: Board>(
        &mut self,
        board: &mut B,
        network: &'static str,
        to: Address,
        values: &[f32],
    ) -> Result<(), EngineError> {
        self.upload.whole(&[values], 1);
        board.upload(to, &[values], &self.upload).map_err(|error| error.of_batch(network, 1))
    }
}

/// The batch that `rows` rows of a length run in: padded to a fixed shape when it is the usual length.
pub(super) fn batch_of(rungs: Rungs, rows: usize, usual: bool) -> (usize, Shape) {
    if usual { (rungs.of(rows), Shape::Fixed) } else { (rows, Shape::Odd) }
}

/// Reads the first rows of an output and refuses numbers that are none.
pub(super) fn take<B: Board>(
    board: &mut B,
    network: &'static str,
    from: Address,
    values: usize,
    out: &mut Vec<f32>,
) -> Result<(), EngineError> {
    let before = out.len();
    board.read(from, values, out).map_err(|error| error.of_batch(network, 1))?;
    if out[before..].iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(EngineError::NotFinite { network })
    }
}

/// Whether a batch found no memory; what was taken for it has to go back then.
pub(super) fn starved(outcome: &Result<(), EngineError>) -> bool {
    matches!(outcome, Err(EngineError::OutOfMemory { .. }))
}

/// Runs rows batch by batch, no batch larger than memory allows; a batch that finds none halves those to come.
pub(super) fn in_batches(
    rungs: &mut Rungs,
    rows: usize,
    usual: bool,
    mut run: impl FnMut(std::ops::Range<usize>, usize, Shape) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut done = 0;
    while done < rows {
        let end = rows.min(done + rungs.full());
        let (count, shape) = batch_of(*rungs, end - done, usual);
        match run(done..end, count, shape) {
            Ok(()) => done = end,
            Err(EngineError::OutOfMemory { .. }) => {
                rungs.halve(count);
                return Err(EngineError::OutOfMemory { rows: end - done });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Segmentation {
    fn run<B: Board>(
        &mut self,
        board: &mut B,
        stage: &mut Stage,
        rows: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        const LABEL: &str = "segmentation";
        let length = rows.first().map_or(0, |row| row.len());
        let usual = length == self.window;
        let Self { network, rungs, input, frames, classes, .. } = self;
        let outcome = in_batches(rungs, rows.len(), usual, |range, count, shape| {
            let rows = &rows[range];
            let sent = stage.send(board, LABEL, rows, count)?;
            let failed = |error: super::board::BoardError| error.of_batch(LABEL, rows.len());
            let at = input.room(board, count * length).map_err(failed)?;
            let Rows { samples, starts } = sent;
            let gather = Launch::Gather { samples, starts, out: at, rows: count, length };
            board.launch(&gather).map_err(failed)?;
            network.run(board, &[(at, &[count, 1, length])], length, shape, |board, found, at| {
                let right = found.len() == 3
                    && found[0] == count as i64
                    && found[2] == *classes as i64
                    && (!usual || found[1] == *frames as i64);
                if !right {
                    let expected = format!("[{count}, {frames}, {classes}]");
                    let found = found.to_vec();
                    return Err(EngineError::OutputShape { network: LABEL, found, expected });
                }
                take(board, LABEL, at, rows.len() * found[1] as usize * *classes, out)
            })
        });
        if starved(&outcome) {
            network.forget(board);
            input.release(board);
            stage.release(board);
        }
        outcome
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
        let file = ("segmentation", s.file.as_str());
        let network = Network::open(&mut board, environment, bundle, file, None, None)?;
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
    /// not, batches are halved.
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
                    let mut outcome = Ok(());
                    for rows in rungs(self).all().into_iter().rev() {
                        outcome = run(self, rows);
                        if outcome.is_err() {
                            break;
                        }
                    }
                    match outcome {
                        Err(EngineError::OutOfMemory { rows }) if rows > super::rungs::ROWS_MIN => {
                            tracing::warn!(
                                rows = rungs(self).full(),
                                "little device memory: batches are at most this large"
                            );
                        }
                        other => return other,
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

    fn frame_level(
        &mut self,
        network: &'static str,
    ) -> Result<(&mut FrameLevel, &mut Stage, &mut B), EngineError> {
        match &mut self.embedder {
            Embedder::FrameLevel(embedder) => Ok((embedder, &mut self.stage, &mut self.board)),
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
        const LABEL: &str = "features";
        let failed = |error: super::board::BoardError| error.of_batch(LABEL, rows.len());
        let sent = self.stage.send(&mut self.board, LABEL, rows, rows.len())?;
        let values = rows.len() * frames * bins;
        let at = self.board.allocate(values).map_err(failed)?;
        let Rows { samples, starts } = sent;
        let fbank = Launch::Fbank { samples, starts, out: at, rows: rows.len(), frames };
        let outcome = self.board.launch(&fbank).map_err(failed);
        let outcome = outcome.and_then(|()| take(&mut self.board, LABEL, at, values, out));
        self.board.release(at);
        outcome
    }

    /// The board, for who looks at it from outside.
    pub fn board(&mut self) -> &mut B {
        &mut self.board
    }
}

impl<B: Board> Engine for CudaEngine<B> {
    fn segment(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        self.segmentation.run(&mut self.board, &mut self.stage, rows, out)
    }

    fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        match &mut self.embedder {
            Embedder::Windowed(network) => network.embed(&mut self.board, &mut self.stage, rows, out),
            Embedder::FrameLevel(_) => Err(EngineError::NoSuchNetwork { network: "windowed" }),
        }
    }

    fn embed_locals(
        &mut self,
        rows: &[&[f32]],
        weights: &[&[f32]],
        out: &mut Vec<f32>,
    ) -> Result<(), EngineError> {
        let (network, stage, board) = self.frame_level("frame-level")?;
        network.embed_locals(board, stage, rows, weights, out)
    }

    fn trunk(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let (network, stage, board) = self.frame_level("trunk")?;
        network.trunk(board, stage, rows, out)
    }

    fn pool(&mut self, rows: &[&[f32]], weights: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
        let (network, stage, board) = self.frame_level("pooling")?;
        network.pool(board, stage, rows, weights, out)
    }

    fn idle(&mut self) {
        self.board.idle();
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
