//! The port between the engine and the card: memory, copies, kernels, sessions.
//!
//! The engine says what happens in which order; a [`Board`] does it. One is a GPU; in tests another one keeps everything in
//! this process's memory and computes each kernel by its reference, so that the engine is tested without a card.

use ort::environment::Environment;
use ort::memory::MemoryInfo;
use ort::session::Session;

use super::staging::Upload;
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;

/// A network, loaded.
pub struct Opened {
    /// It.
    pub session: Session,
    /// All of it runs on the board. Where parts run on the CPU, ONNX Runtime may copy an input to the host when it is bound, and
    /// never again.
    pub whole: bool,
}

/// Where something stands in the device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Address(pub u64);

/// Why the card did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoardError {
    /// There is no memory for it.
    #[error("no memory on the device: {detail}")]
    OutOfMemory {
        /// What was wanted, and what there is.
        detail: String,
    },
    /// The card does not work any more.
    #[error("the device was lost: {detail}")]
    Lost {
        /// What the driver said.
        detail: String,
    },
    /// It was refused.
    #[error("the driver refused to {what}: {detail}")]
    Refused {
        /// What was to be done.
        what: &'static str,
        /// What the driver said.
        detail: String,
    },
}

impl BoardError {
    /// The same, of a batch of `rows` rows.
    #[must_use]
    pub fn of_batch(self, network: &'static str, rows: usize) -> EngineError {
        match self {
            Self::OutOfMemory { .. } => EngineError::OutOfMemory { rows },
            Self::Lost { detail } => EngineError::Lost { detail },
            Self::Refused { .. } => EngineError::Library { network, source: Box::new(self) },
        }
    }
}

/// One run of a kernel; all addresses are of 4-byte values. The kernels and their arguments: `kernels/*.cu`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Launch {
    /// Rows cut out of samples → `[rows, length]`.
    Gather {
        /// The samples.
        samples: Address,
        /// Where each row begins.
        starts: Address,
        /// The rows.
        out: Address,
        /// How many.
        rows: usize,
        /// Samples of each.
        length: usize,
    },
    /// Features of rows → `[rows, frames, bins]`.
    Fbank {
        /// The samples.
        samples: Address,
        /// Where each row begins.
        starts: Address,
        /// The features.
        out: Address,
        /// How many rows.
        rows: usize,
        /// Frames of each.
        frames: usize,
    },
    /// Features less their mean over each row.
    Centre {
        /// `[rows, frames, bins]`.
        from: Address,
        /// The same, or `[rows, bins, frames]`.
        out: Address,
        /// How many rows.
        rows: usize,
        /// Frames of each.
        frames: usize,
        /// Whether axes are exchanged; `out` is other memory then.
        transposed: bool,
    },
    /// Weighted means and deviations → `[rows, speakers, 2 channels]`.
    Pool {
        /// Trunk output, `[rows, channels, steps]`.
        features: Address,
        /// `[rows, speakers, frames]`.
        weights: Address,
        /// The frame whose weight each step takes.
        frame_of: Address,
        /// The statistics.
        out: Address,
        /// Lengths of the axes.
        sizes: PoolSizes,
    },
    /// A dense layer → `[rows, dimension]`.
    Project {
        /// `[rows, width]`.
        pooled: Address,
        /// `[width, dimension]`.
        dense: Address,
        /// `[dimension]`.
        bias: Address,
        /// The result.
        out: Address,
        /// How many rows.
        rows: usize,
        /// Values of a row before the layer.
        width: usize,
        /// Values of a row behind it.
        dimension: usize,
    },
}

/// Lengths of the axes of [`Launch::Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSizes {
    /// Chunks.
    pub rows: usize,
    /// Channels of the trunk.
    pub channels: usize,
    /// Steps of the trunk.
    pub steps: usize,
    /// Local speakers.
    pub speakers: usize,
    /// Activity frames that have a weight.
    pub frames: usize,
}

/// A card and a stream on it. Everything happens in the order in which it was asked for; only [`Board::read`] and
/// [`Board::wait`] wait.
pub trait Board {
    /// Memory for so many 4-byte values.
    ///
    /// # Errors
    /// See [`BoardError`].
    fn allocate(&mut self, values: usize) -> Result<Address, BoardError>;

    /// Gives memory back.
    fn release(&mut self, address: Address);

    /// Sends what `upload` says of rows.
    ///
    /// # Errors
    /// See [`BoardError`].
    fn upload(&mut self, to: Address, rows: &[&[f32]], upload: &Upload) -> Result<(), BoardError>;

    /// Sends a few numbers.
    ///
    /// # Errors
    /// See [`BoardError`].
    fn write_ints(&mut self, to: Address, values: &[i32]) -> Result<(), BoardError>;

    /// Runs a kernel.
    ///
    /// # Errors
    /// See [`BoardError`].
    fn launch(&mut self, launch: &Launch) -> Result<(), BoardError>;

    /// Appends so many values to `out`, once everything before is done.
    ///
    /// # Errors
    /// See [`BoardError`].
    fn read(&mut self, from: Address, values: usize, out: &mut Vec<f32>) -> Result<(), BoardError>;

    /// Loads a network of a bundle so that it runs here, in this stream.
    ///
    /// # Errors
    /// When the library refuses it.
    fn open(&mut self, environment: &Environment, bundle: &Bundle, file: &str) -> Result<Opened, ort::Error>;

    /// Waits until everything that was asked for is done.
    ///
    /// # Errors
    /// See [`BoardError`].
    fn wait(&mut self) -> Result<(), BoardError>;

    /// What ONNX Runtime calls the memory of this card.
    fn memory(&self) -> &MemoryInfo<'static>;

    /// Says that a network begins or has ended to run: in between, memory comes and goes in the order of the stream.
    fn running(&mut self, yes: bool);

    /// What really happened when a network failed.
    fn explain(&mut self, network: &'static str, rows: usize, error: ort::Error) -> EngineError;

    /// Gives back what nobody uses.
    fn idle(&mut self);
}
