//! From a machine to engines that may be tried: look, load, prepare, and in each lane's thread one engine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use common::home::Home;
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};

use super::allocator;
use super::card::{Card, CardPool, Shared};
use super::check::{self, Checked};
use super::compiler::Compiler;
use super::driver::{Context, Described};
use super::driver_pool::DriverPool;
use super::engine::CudaEngine;
use super::error::CudaError;
use super::libraries;
use super::nvrtc::{self, Lengths};
use super::pool::{Budgeted, budget_bytes};
use super::rungs::ROWS_MIN;
use super::seen::Seen;
use crate::batch::plan::Limits;
use crate::device::bundle::Bundle;
use crate::device::gauges::GaugeSource;
use crate::device::ort::engine::StartError;
use crate::device::ort::library;
use crate::diarize::fbank::Fbank;

/// Engines on one card: while one copies and waits, the other computes.
const LANES: usize = 2;
/// Rows of a full batch. A chunk's features through ResNet34 take about 25 MB, its trunk's output 1.3 MB.
const SEGMENTATION_ROWS: usize = 32;
const EMBEDDING_ROWS: usize = 64;
const LOCALS_ROWS: usize = 32;
/// Beside ONNX Runtime's library; without it the library knows no CUDA.
const PROVIDER: &str = "libonnxruntime_providers_cuda.so";

/// A machine whose card can be used, as far as it was looked at.
pub struct Found {
    context: Context,
    described: Described,
    ordinal: u32,
    library: PathBuf,
}

/// What is wanted of a card.
#[derive(Debug, Clone)]
pub struct CudaSetup {
    /// Memory that may be used: bytes, or a share of the card.
    pub memory: String,
    /// Engines; `None` for the default.
    pub lanes: Option<usize>,
    /// Most rows of a batch, for both networks; `None` for the defaults.
    pub batch_rows: Option<usize>,
}

/// Everything that lanes need to make their engines.
#[derive(Clone)]
pub struct Prepared {
    shared: Shared,
    environment: Environment,
    bundle: Arc<Bundle>,
    limits: Limits,
    name: String,
}

/// Looks whether a card can be used: driver, card, ONNX Runtime's build for GPUs.
///
/// # Errors
/// See [`CudaError`]; those that [`CudaError::is_absence`] tells of.
pub fn look(home: &Home, ordinal: u32) -> Result<Found, CudaError> {
    let (context, described) = Context::open(ordinal).map_err(|error| Seen::look().judge(error))?;
    let library = library::chosen().unwrap_or_else(|| home.onnxruntime_gpu_library());
    let provider = library.with_file_name(PROVIDER);
    if let Some(path) = [&library, &provider].into_iter().find(|path| !path.is_file()) {
        return Err(CudaError::NoRuntime { path: path.clone() });
    }
    Ok(Found { context, described, ordinal, library })
}

impl Found {
    /// What its maker calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.described.name
    }
}

/// Loads the libraries, makes the memory pool, compiles the kernels.
///
/// # Errors
/// See [`CudaError`].
pub fn prepare(
    found: &Found,
    bundle: &Bundle,
    home: &Home,
    setup: &CudaSetup,
) -> Result<Prepared, CudaError> {
    let folder = found.library.parent().unwrap_or(Path::new("."));
    let folders = libraries::folders(folder);
    libraries::load_all(&folders)?;
    let compiler = Compiler::of(&libraries::load_nvrtc(&folders)?)?;
    let runtime = |what: &'static str| {
        move |source: Box<dyn std::error::Error + Send + Sync>| CudaError::Runtime { what, source }
    };
    let environment =
        library::environment(&found.library).map_err(|source| runtime("start")(Box::new(source)))?;
    let budget = budget_bytes(&setup.memory, found.described.memory_bytes)
        .ok_or_else(|| CudaError::Budget { value: setup.memory.clone() })?;
    let pool = pool_of(found, &environment, budget)?;
    let feature = bundle.manifest.embedding.feature.as_ref();
    let fbank = feature.map(|feature| Fbank::new(feature, bundle.manifest.segmentation.sample_rate_hz));
    let lengths = fbank.as_ref().map_or(Lengths::USUAL, |fbank| Lengths::of(&fbank.tables()));
    let known = compiler.architectures()?;
    let (major, minor) = found.described.capability;
    let arch = nvrtc::architecture_for((major, minor), &known).ok_or_else(|| CudaError::Kernels {
        arch: format!("sm_{major}{minor}"),
        detail: format!("NVRTC knows {known:?}"),
    })?;
    let code = nvrtc::code(&compiler, &home.cache().join("kernels"), &format!("sm_{arch}"), lengths)?;
    let embedding_rows = match bundle.manifest.embedding.kind {
        common::model::manifest::EmbeddingKind::Windowed { .. } => EMBEDDING_ROWS,
        common::model::manifest::EmbeddingKind::FrameLevel { .. } => LOCALS_ROWS,
    };
    let limits = Limits {
        segmentation_rows_max: setup.batch_rows.unwrap_or(SEGMENTATION_ROWS).max(ROWS_MIN),
        embedding_rows_max: setup.batch_rows.unwrap_or(embedding_rows).max(ROWS_MIN),
        rows_min: ROWS_MIN,
        lanes: setup.lanes.unwrap_or(LANES).max(1),
    };
    let shared = Shared { context: found.context.clone(), ordinal: found.ordinal, pool, code: code.into() };
    let name = found.described.name.clone();
    Ok(Prepared { shared, environment, bundle: Arc::new(bundle.clone()), limits, name })
}

/// The card's pool, registered with ONNX Runtime; the first budget of a process stays.
fn pool_of(found: &Found, environment: &Environment, budget: u64) -> Result<CardPool, CudaError> {
    static POOL: Mutex<Option<(u32, CardPool)>> = Mutex::new(None);
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((used, pool)) = &*slot {
        if *used != found.ordinal {
            return Err(CudaError::OtherDevice { used: *used, wanted: found.ordinal });
        }
        return Ok(pool.clone());
    }
    let pool = Arc::new(Budgeted::new(DriverPool::new(&found.context, found.ordinal, budget)?, budget));
    let memory = card_memory(found.ordinal)?;
    allocator::register(environment, memory, Box::new(pool.clone()))
        .map_err(|source| CudaError::Runtime { what: "use our memory pool", source: Box::new(source) })?;
    *slot = Some((found.ordinal, pool.clone()));
    Ok(pool)
}

fn card_memory(ordinal: u32) -> Result<MemoryInfo<'static>, CudaError> {
    let device = AllocationDevice::CUDA;
    MemoryInfo::new(device, ordinal as i32, AllocatorType::Device, MemoryType::Default)
        .map_err(|source| CudaError::Runtime { what: "name the card's memory", source: Box::new(source) })
}

impl Prepared {
    /// Makes a lane's engine; in the lane's thread.
    ///
    /// # Errors
    /// [`StartError::Device`] when the card refuses something, else what the library says of a network.
    pub fn engine(&self) -> Result<CudaEngine<Card>, StartError> {
        let device = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Device { source };
        let m = &self.bundle.manifest;
        let feature = m.embedding.feature.as_ref();
        let fbank = feature.map(|feature| Fbank::new(feature, m.segmentation.sample_rate_hz));
        let memory = card_memory(self.shared.ordinal).map_err(|error| device(Box::new(error)))?;
        let card =
            Card::new(&self.shared, memory, fbank.as_ref()).map_err(|error| device(Box::new(error)))?;
        let engine = CudaEngine::load(card, &self.environment, &self.bundle, self.limits)?;
        if allocator::taken() == 0 {
            tracing::warn!("ONNX Runtime keeps GPU memory of its own: budget and gauges do not cover it");
        }
        Ok(engine)
    }

    /// Runs every kernel against its reference, over at least two seconds of sound.
    ///
    /// # Errors
    /// When the card refuses something.
    pub fn check_kernels(&self, sound: &[f32]) -> Result<Vec<Checked>, CudaError> {
        let m = &self.bundle.manifest;
        let feature = m.embedding.feature.as_ref();
        let mut fbank = feature.map(|feature| Fbank::new(feature, m.segmentation.sample_rate_hz));
        let mut card = Card::new(&self.shared, card_memory(self.shared.ordinal)?, fbank.as_ref())?;
        Ok(check::kernels(&mut card, fbank.as_mut(), sound)?)
    }

    /// ONNX Runtime, as it was loaded for the card.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Bounds of batches, and how many engines there are to be.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What the card's maker calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What documents call the card.
    #[must_use]
    pub fn label(&self) -> String {
        format!("cuda:{}", self.shared.ordinal)
    }

    /// The gauges of the card's pool.
    #[must_use]
    pub fn gauges(&self) -> Arc<dyn GaugeSource> {
        self.shared.pool.clone()
    }

    /// Most bytes of the card's pool that were in use at once.
    #[must_use]
    pub fn used_max(&self) -> u64 {
        self.shared.pool.used_max()
    }

    /// How often memory was taken of the card's pool so far.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.shared.pool.allocations()
    }
}
