//! The board that is a card: one stream, its staging buffers, our kernels, and sessions that run in the same stream.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::sys::CUfunction;
use ort::environment::Environment;
use ort::ep::CUDA;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::allocator;
use super::board::{Address, Board, BoardError, Launch, Opened};
use super::driver::{Context, Event, Module, Pinned, StreamHandle};
use super::driver_pool::DriverPool;
use super::features::Numbers;
use super::nvrtc::KERNELS;
use super::pool::{Budgeted, PoolError};
use super::staging::{Cursor, Ring, Upload, put_ints};
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::diarize::fbank::Fbank;

/// Staging buffers of a lane, and the values of each: 4 MiB, some 0.2 ms of a PCIe link.
const SLOTS: usize = 3;
const SLOT_VALUES: usize = 1 << 20;
/// Threads of a block; `fbank.cu` has room for no more.
const THREADS: u32 = 256;
/// Threads of a block where a thread has more to do.
const THREADS_FEW: u32 = 128;
/// `TILE_CHANNELS` of `pooling.cu`.
const TILE_CHANNELS: u32 = 32;
/// Most blocks of a row in `gather`; threads stride over the rest.
const GATHER_BLOCKS_MAX: u32 = 64;
/// What ONNX Runtime says when a network has parts that the provider leaves to the CPU.
const CPU_PARTS: &str = "fallback to CPU EP";

/// The card's pool, as everybody who takes of it sees it.
pub(super) type CardPool = Arc<Budgeted<DriverPool>>;

/// What lanes of a card share.
#[derive(Clone)]
pub(super) struct Shared {
    pub context: Context,
    pub ordinal: u32,
    pub pool: CardPool,
    pub code: Arc<[u8]>,
}

/// See the module.
pub struct Card {
    kernels: Kernels,
    features: Option<FeatureTables>,
    ring: Ring,
    slots: Vec<(Pinned, Event)>,
    landing: Pinned,
    memory: MemoryInfo<'static>,
    /// After everything that uses it.
    stream: StreamHandle,
    shared: Shared,
}

/// Functions of the loaded module.
struct Kernels {
    gather: CUfunction,
    fbank: CUfunction,
    centre: CUfunction,
    pool: CUfunction,
    project: CUfunction,
}

/// The numbers that features are computed with, on the card.
struct FeatureTables {
    scale: f32,
    bins: usize,
    taper: u64,
    cosines: u64,
    sines: u64,
    first_bins: u64,
    offsets: u64,
    weights: u64,
}

impl Card {
    /// A lane's own part of a card, made in the lane's thread.
    pub(super) fn new(
        shared: &Shared,
        memory: MemoryInfo<'static>,
        fbank: Option<&Fbank>,
    ) -> Result<Self, BoardError> {
        let stream = shared.context.stream()?;
        allocator::enter(stream.id());
        let module = Module::load(&shared.code)?;
        let [gather, fbank_kernel, centre, pool, project] = KERNELS.map(|name| module.function(name));
        let kernels = Kernels {
            gather: gather?,
            fbank: fbank_kernel?,
            centre: centre?,
            pool: pool?,
            project: project?,
        };
        let slot = || Ok::<_, BoardError>((Pinned::new(SLOT_VALUES)?, Event::new()?));
        let mut card = Self {
            kernels,
            features: None,
            ring: Ring::new(SLOTS, SLOT_VALUES),
            slots: (0..SLOTS).map(|_| slot()).collect::<Result<_, _>>()?,
            landing: Pinned::new(SLOT_VALUES)?,
            memory,
            stream,
            shared: shared.clone(),
        };
        if let Some(fbank) = fbank {
            card.features = Some(card.send_tables(fbank)?);
        }
        Ok(card)
    }

    fn send_tables(&mut self, fbank: &Fbank) -> Result<FeatureTables, BoardError> {
        let numbers = Numbers::of(fbank);
        let sent = FeatureTables {
            scale: numbers.scale,
            bins: numbers.bins,
            taper: self.keep(&numbers.taper)?,
            cosines: self.keep(&numbers.cosines)?,
            sines: self.keep(&numbers.sines)?,
            first_bins: self.keep(&numbers.first_bins)?,
            offsets: self.keep(&numbers.offsets)?,
            weights: self.keep(&numbers.weights)?,
        };
        // The host's side of the copies goes away now.
        self.stream.synchronize()?;
        Ok(sent)
    }

    fn keep<T: Copy>(&mut self, values: &[T]) -> Result<u64, BoardError> {
        let at = self.allocate(values.len())?.0;
        self.stream.to_device(at, values)?;
        Ok(at)
    }

    /// Sends values through the staging buffers; `fill` writes those of a range into one.
    fn send(
        &mut self,
        to: Address,
        values: usize,
        mut fill: impl FnMut(Range<usize>, &mut [f32]),
    ) -> Result<(), BoardError> {
        let mut done = 0;
        while let Some(next) = self.ring.fill(done, values) {
            let (slot, copied) = &mut self.slots[next.slot];
            // The device may still read what was there before.
            copied.wait()?;
            let staged = &mut slot.values()[..next.values.len()];
            fill(next.values.clone(), staged);
            self.stream.to_device(to.0 + (next.values.start * size_of::<f32>()) as u64, staged)?;
            copied.record(&self.stream)?;
            done = next.values.end;
        }
        Ok(())
    }

    fn session(
        &self,
        environment: &Environment,
        bundle: &Bundle,
        file: &str,
        strict: bool,
    ) -> ort::Result<Session> {
        let provider = CUDA::default()
            .with_device_id(self.shared.ordinal as i32)
            // The bound on embeddings holds in full precision only.
            .with_tf32(false)
            .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
        let provider = super::binding::in_stream(provider, &self.stream).build().error_on_failure();
        let builder = Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_env_allocators()?
            .with_execution_providers([provider])?;
        let mut builder = if strict { builder.with_disable_cpu_fallback()? } else { builder };
        builder.commit_from_file(bundle.file(file))
    }
}

/// A length as kernels count.
fn int(value: usize) -> Result<i32, BoardError> {
    let detail = || format!("{value} is more than a kernel counts");
    i32::try_from(value).map_err(|_| BoardError::Refused { what: "run a kernel", detail: detail() })
}

/// A length of a grid or a block.
fn size(value: usize) -> Result<u32, BoardError> {
    int(value).map(i32::unsigned_abs)
}

fn pointer<T>(value: &mut T) -> *mut c_void {
    (&raw mut *value).cast()
}

impl Board for Card {
    fn allocate(&mut self, values: usize) -> Result<Address, BoardError> {
        let bytes = values * size_of::<f32>();
        self.shared.pool.allocate(bytes, self.stream.id()).map(Address).map_err(|error| match error {
            PoolError::OutOfMemory { .. } => BoardError::OutOfMemory { detail: error.to_string() },
            PoolError::Lost { detail } => BoardError::Lost { detail },
        })
    }

    fn release(&mut self, address: Address) {
        // Fails on a lost device only, where the next use says so.
        let _ = self.shared.pool.release(address.0);
    }

    fn upload(&mut self, to: Address, rows: &[&[f32]], upload: &Upload) -> Result<(), BoardError> {
        let mut cursor = Cursor::default();
        self.send(to, upload.values, |_, staged| cursor.copy(rows, &upload.parts, staged))
    }

    fn write_ints(&mut self, to: Address, values: &[i32]) -> Result<(), BoardError> {
        // From the caller's own memory the driver may copy when the call has returned, and what stands there has changed.
        self.send(to, values.len(), |range, staged| put_ints(&values[range], staged))
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), BoardError> {
        match *launch {
            Launch::Gather { mut samples, mut starts, mut out, rows, length } => {
                let blocks = size(length)?.div_ceil(4 * THREADS).clamp(1, GATHER_BLOCKS_MAX);
                let mut length = int(length)?;
                let arguments = &mut [
                    pointer(&mut samples),
                    pointer(&mut starts),
                    pointer(&mut out),
                    pointer(&mut length),
                ];
                self.stream.launch(self.kernels.gather, ((blocks, size(rows)?), THREADS), arguments)
            }
            Launch::Fbank { mut samples, mut starts, mut out, rows, frames } => {
                let t = self.features.as_mut().ok_or_else(no_features)?;
                let grid = (size(frames)?, size(rows)?);
                let mut frames = int(frames)?;
                let arguments = &mut [
                    pointer(&mut samples),
                    pointer(&mut starts),
                    pointer(&mut t.taper),
                    pointer(&mut t.cosines),
                    pointer(&mut t.sines),
                    pointer(&mut t.first_bins),
                    pointer(&mut t.offsets),
                    pointer(&mut t.weights),
                    pointer(&mut out),
                    pointer(&mut frames),
                    pointer(&mut t.scale),
                ];
                self.stream.launch(self.kernels.fbank, (grid, THREADS), arguments)
            }
            Launch::Centre { mut from, mut out, rows, frames, transposed } => {
                let bins = self.features.as_ref().ok_or_else(no_features)?.bins;
                let (mut frames, mut transposed) = (int(frames)?, i32::from(transposed));
                let arguments = &mut [
                    pointer(&mut from),
                    pointer(&mut out),
                    pointer(&mut frames),
                    pointer(&mut transposed),
                ];
                self.stream.launch(self.kernels.centre, ((size(bins)?, size(rows)?), THREADS_FEW), arguments)
            }
            Launch::Pool { mut features, mut weights, mut frame_of, mut out, sizes } => {
                let grid = (size(sizes.channels)?.div_ceil(TILE_CHANNELS), size(sizes.rows)?);
                let block = TILE_CHANNELS * size(sizes.speakers)?;
                let (mut channels, mut steps) = (int(sizes.channels)?, int(sizes.steps)?);
                let (mut speakers, mut frames) = (int(sizes.speakers)?, int(sizes.frames)?);
                let arguments = &mut [
                    pointer(&mut features),
                    pointer(&mut weights),
                    pointer(&mut frame_of),
                    pointer(&mut out),
                    pointer(&mut channels),
                    pointer(&mut steps),
                    pointer(&mut speakers),
                    pointer(&mut frames),
                ];
                self.stream.launch(self.kernels.pool, (grid, block), arguments)
            }
            Launch::Project { mut pooled, mut dense, mut bias, mut out, rows, width, dimension } => {
                let grid = (size(dimension)?.div_ceil(THREADS_FEW), size(rows)?);
                let (mut width, mut dimension) = (int(width)?, int(dimension)?);
                let arguments = &mut [
                    pointer(&mut pooled),
                    pointer(&mut dense),
                    pointer(&mut bias),
                    pointer(&mut out),
                    pointer(&mut width),
                    pointer(&mut dimension),
                ];
                self.stream.launch(self.kernels.project, (grid, THREADS_FEW), arguments)
            }
        }
    }

    fn read(&mut self, from: Address, values: usize, out: &mut Vec<f32>) -> Result<(), BoardError> {
        if self.landing.len() < values {
            self.landing = Pinned::new(values)?;
        }
        let landed = &mut self.landing.values()[..values];
        self.stream.to_host(landed, from.0)?;
        out.extend_from_slice(landed);
        Ok(())
    }

    fn open(&mut self, environment: &Environment, bundle: &Bundle, file: &str) -> Result<Opened, ort::Error> {
        match self.session(environment, bundle, file, true) {
            Ok(session) => Ok(Opened { session, whole: true }),
            Err(error) if error.message().contains(CPU_PARTS) => {
                tracing::warn!(
                    file,
                    "parts of this network run on the CPU: the CUDA provider does not know them"
                );
                let session = self.session(environment, bundle, file, false)?;
                Ok(Opened { session, whole: false })
            }
            Err(error) => Err(error),
        }
    }

    fn wait(&mut self) -> Result<(), BoardError> {
        self.stream.synchronize()
    }

    fn memory(&self) -> &MemoryInfo<'static> {
        &self.memory
    }

    fn running(&mut self, yes: bool) {
        allocator::running(yes);
    }

    fn explain(&mut self, network: &'static str, rows: usize, error: ort::Error) -> EngineError {
        let starved = allocator::take_out_of_memory();
        match self.stream.synchronize() {
            Err(BoardError::Lost { detail }) => EngineError::Lost { detail: format!("{detail}; {error}") },
            Err(BoardError::OutOfMemory { .. }) => EngineError::OutOfMemory { rows },
            _ if starved || is_out_of_memory(error.message()) => EngineError::OutOfMemory { rows },
            _ => EngineError::Library { network, source: Box::new(error) },
        }
    }

    fn idle(&mut self) {
        // What goes wrong here goes wrong again with the next batch, where it can be told.
        if self.stream.synchronize().is_ok() {
            let _ = self.shared.pool.trim();
        }
    }
}

fn no_features() -> BoardError {
    BoardError::Refused { what: "make features", detail: "the bundle has none".to_owned() }
}

/// Whether libraries below ONNX Runtime, which take some memory by themselves, found none.
fn is_out_of_memory(message: &str) -> bool {
    ["out of memory", "ALLOC_FAILED", "Failed to allocate", "bad_alloc", "cudaErrorMemoryAllocation"]
        .iter()
        .any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_without_memory_are_understood() {
        assert!(is_out_of_memory("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0"));
        assert!(is_out_of_memory("CUDA failure 2: out of memory"));
        assert!(!is_out_of_memory("CUDA failure 700: an illegal memory access was encountered"));
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(int(i32::MAX as usize), Ok(i32::MAX));
        assert!(matches!(int(i32::MAX as usize + 1), Err(BoardError::Refused { .. })));
    }
}
