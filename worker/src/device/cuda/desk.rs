//! A board and the buffers that networks share, in the hands of the one network that runs now.

use std::ops::Range;

use super::board::{Address, Board, BoardError, Launch};
use super::memory::Growing;
use super::network::Shape;
use super::rungs::Rungs;
use super::staging::Upload;
use crate::device::engine::EngineError;

/// What all networks use, in turn.
#[derive(Default)]
pub(super) struct Stage {
    upload: Upload,
    samples: Growing,
    starts: Growing,
}

/// A batch as it is run: how many rows it has with its padding, and whether that is a fixed shape.
pub(super) type Batch = (usize, Shape);

/// See the module. Errors name the network and its batch.
pub(super) struct Desk<'a, B> {
    pub board: &'a mut B,
    stage: &'a mut Stage,
    pub network: &'static str,
    /// Rows of the batch.
    pub rows: usize,
}

/// A network that runs in batches.
pub(super) trait Batched {
    /// The sizes of its batches.
    fn rungs(&mut self) -> &mut Rungs;

    /// Gives back what was taken for a batch, so that a smaller one finds memory.
    fn forget(&mut self, board: &mut impl Board);
}

/// Rows on the board.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// Their samples.
    pub samples: Address,
    /// Where each begins.
    pub starts: Address,
}

impl<'a, B: Board> Desk<'a, B> {
    pub fn new(board: &'a mut B, stage: &'a mut Stage, network: &'static str, rows: usize) -> Self {
        Self { board, stage, network, rows }
    }

    /// The same for another network, which works on what this one gave.
    pub fn next(&mut self, network: &'static str) -> Desk<'_, B> {
        Desk { board: self.board, stage: self.stage, network, rows: self.rows }
    }

    /// What an error of the board is to whoever wants the batch.
    pub fn error(&self, error: BoardError) -> EngineError {
        error.of_batch(self.network, self.rows)
    }

    /// What an error of ONNX Runtime is.
    pub fn explain(&mut self, error: ort::Error) -> EngineError {
        self.board.explain(self.network, self.rows, error)
    }

    /// Room for so many values.
    pub fn room(&mut self, buffer: &mut Growing, values: usize) -> Result<Address, EngineError> {
        buffer.room(self.board, values).map_err(|error| self.error(error))
    }

    /// Runs a kernel.
    pub fn launch(&mut self, launch: &Launch) -> Result<(), EngineError> {
        self.board.launch(launch).map_err(|error| self.error(error))
    }

    /// Sends rows; `count` of them are there afterwards, padding included.
    pub fn send(&mut self, rows: &[&[f32]], count: usize) -> Result<Rows, EngineError> {
        let Self { board, stage, .. } = self;
        stage.upload.plan(rows, count);
        let mut send = || {
            let samples = stage.samples.room(*board, stage.upload.values)?;
            let starts = stage.starts.room(*board, count)?;
            board.upload(samples, rows, &stage.upload)?;
            board.write_ints(starts, &stage.upload.starts)?;
            Ok(Rows { samples, starts })
        };
        send().map_err(|error| self.error(error))
    }

    /// Sends rows one behind the other, each whole.
    pub fn send_whole(
        &mut self,
        to: &mut Growing,
        rows: &[&[f32]],
        count: usize,
    ) -> Result<Address, EngineError> {
        self.stage.upload.whole(rows, count);
        let at = self.room(to, self.stage.upload.values)?;
        self.board.upload(at, rows, &self.stage.upload).map_err(|error| self.error(error))?;
        Ok(at)
    }

    /// Sends numbers to a place that has room for them.
    pub fn send_to(&mut self, to: Address, values: &[f32]) -> Result<(), EngineError> {
        self.stage.upload.whole(&[values], 1);
        self.board.upload(to, &[values], &self.stage.upload).map_err(|error| self.error(error))
    }

    /// Sends rows of samples and cuts them out → `[count, length]`.
    pub fn gather(
        &mut self,
        rows: &[&[f32]],
        count: usize,
        to: &mut Growing,
    ) -> Result<Address, EngineError> {
        let length = rows.first().map_or(0, |row| row.len());
        let Rows { samples, starts } = self.send(rows, count)?;
        let out = self.room(to, count * length)?;
        self.launch(&Launch::Gather { samples, starts, out, rows: count, length })?;
        Ok(out)
    }

    /// Sends rows of samples and makes features of them, each bin less its mean over the row → `[count, frames, bins]`,
    /// or `[count, bins, frames]` by way of `transposed`.
    pub fn features(
        &mut self,
        rows: &[&[f32]],
        [count, frames, bins]: [usize; 3],
        to: &mut Growing,
        transposed: Option<&mut Growing>,
    ) -> Result<Address, EngineError> {
        let Rows { samples, starts } = self.send(rows, count)?;
        let values = count * frames * bins;
        let out = self.room(to, values)?;
        let exchanged = transposed.is_some();
        let from = transposed.map_or(Ok(out), |buffer| self.room(buffer, values))?;
        self.launch(&Launch::Fbank { samples, starts, out: from, rows: count, frames })?;
        self.launch(&Launch::Centre { from, out, rows: count, frames, transposed: exchanged })?;
        Ok(out)
    }

    /// Reads the first values of an output and refuses numbers that are none.
    pub fn take(&mut self, from: Address, values: usize, out: &mut Vec<f32>) -> Result<(), EngineError> {
        let before = out.len();
        self.board.read(from, values, out).map_err(|error| self.error(error))?;
        if out[before..].iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(EngineError::NotFinite { network: self.network })
        }
    }

    /// Runs rows batch by batch into `out`, no batch larger than memory allows: `run` gets which rows, and their batch, which
    /// has a fixed shape for rows of the usual length. A batch that finds no memory is run again in halves, as those to come
    /// are; one of the smallest shape is an error.
    pub fn in_batches<N: Batched>(
        &mut self,
        network: &mut N,
        usual: bool,
        out: &mut Vec<f32>,
        mut run: impl FnMut(
            &mut N,
            &mut Desk<'_, B>,
            Range<usize>,
            Batch,
            &mut Vec<f32>,
        ) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let (rows, mut done) = (self.rows, 0);
        while done < rows {
            let largest = *network.rungs();
            let end = rows.min(done + largest.full());
            let batch = if usual { (largest.of(end - done), Shape::Fixed) } else { (end - done, Shape::Odd) };
            let mut desk = Desk { rows: end - done, ..self.next(self.network) };
            let before = out.len();
            let outcome = run(network, &mut desk, done..end, batch, out);
            if let Err(EngineError::OutOfMemory { .. }) = outcome {
                network.forget(self.board);
                self.stage.samples.release(self.board);
                self.stage.starts.release(self.board);
                if network.rungs().halve(batch.0) {
                    tracing::warn!(
                        network = self.network,
                        rows = network.rungs().full(),
                        "out of device memory: batches are at most this large from here on"
                    );
                    // Memory may have run out behind the results.
                    out.truncate(before);
                    continue;
                }
            }
            outcome?;
            done = end;
        }
        Ok(())
    }
}
