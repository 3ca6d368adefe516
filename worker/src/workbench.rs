//! What every job of a process shares: the bundle, the device, the limits.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use common::home::Home;

use crate::audio::AudioLimits;
use crate::batch::plan::Limits;
use crate::device::bundle::{Bundle, BundleError};
use crate::device::cuda::{self, CudaError, CudaSetup, Found};
use crate::device::engine::EngineError;
use crate::device::handle::Device;
use crate::device::ort::engine::{CpuEngine, StartError};
use crate::device::ort::library::{self, LibraryError};
use crate::selftest::{self, SelfTestError};

/// Rows of one segmentation batch on a CPU. Measured with two lanes: 2, 4, 8 and 16 chunks take 264, 352, 526 and
/// 890 MB, and from 4 on nothing gets faster.
pub const SEGMENTATION_ROWS: usize = 4;
/// Rows of one embedding batch on a CPU; larger ones gain nothing.
pub const EMBEDDING_ROWS: usize = 4;

/// Memory of a GPU that is used unless somebody says otherwise.
pub const DEVICE_MEMORY: &str = "80%";
/// Jobs that keep one engine of a GPU busy: most of a job there is reading and decoding, which the CPU does.
const JOBS_PER_GPU_LANE: usize = 8;

/// What to set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Folder or name of the bundle.
    pub bundle: String,
    /// Where bundles and the inference library lie.
    pub home: Home,
    /// `auto`, `cpu` or a GPU.
    pub device: DeviceChoice,
    /// Engines; `None` for one on each core, or as many as keep a GPU busy.
    pub threads: Option<usize>,
    /// Memory of a GPU that may be used: bytes or a share.
    pub device_memory: String,
    /// Most rows of a batch, for both networks; `None` for the defaults.
    pub batch_rows: Option<usize>,
    /// What audio is accepted.
    pub limits: AudioLimits,
}

/// Where to run the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A usable GPU if there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this number.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|n| n.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("not a device (`auto`, `cpu`, `cuda` or `cuda:N`): `{text}`")),
        }
    }
}

/// The bundle, the device and the limits.
pub struct Workbench {
    /// The bundle in use.
    pub bundle: Bundle,
    /// Its networks, running.
    pub device: Device,
    /// What documents call the device.
    pub device_name: String,
    /// What the maker of the GPU calls it; `None` on a CPU.
    pub gpu_name: Option<String>,
    /// What audio is accepted.
    pub limits: AudioLimits,
}

/// Why an engine takes no work.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Its networks do not load.
    #[error(transparent)]
    Load(#[from] StartError),
    /// Not even the smallest batch runs.
    #[error("the first batches failed")]
    WarmUp(#[from] EngineError),
    /// It computes something else than the machine the bundle was built on.
    #[error("the self-test failed")]
    SelfTest(#[from] SelfTestError),
}

/// Why no job can run.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No usable bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No usable inference library.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The networks do not load.
    #[error("the networks of the bundle cannot be used: {}", bundle.display())]
    Engine {
        /// The bundle's folder.
        bundle: PathBuf,
        /// Why.
        source: LaneError,
    },
    /// A GPU was asked for, or is there and does not work.
    #[error("no GPU can be used")]
    NoGpu(#[source] CudaError),
}

impl SetupError {
    /// What to try, one line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let build =
            "make it with `rollcall-provision build starter`, or run `./provision/quickstart.sh`".to_owned();
        match self {
            Self::Bundle(BundleError::Missing { .. }) => {
                vec![build, "choose another with `--bundle FOLDER`".into()]
            }
            Self::Bundle(BundleError::BadName { .. }) => {
                vec!["`--bundle` takes a folder, NAME or NAME@VERSION".to_owned()]
            }
            Self::Bundle(_) => vec!["`rollcall-provision verify` tells what is damaged".to_owned(), build],
            Self::Library(LibraryError::Missing { .. }) => vec![
                "install it with `rollcall-provision runtime`, or run `./provision/quickstart.sh`".to_owned(),
                format!("or name a library with `{}`", library::VARIABLE),
            ],
            Self::Library(_) => vec![
                "install the right one with `rollcall-provision runtime`".to_owned(),
                format!(
                    "`{}` overrides the library in `ROLLCALL_HOME`; unset it if it is stale",
                    library::VARIABLE
                ),
            ],
            Self::Engine { .. } => vec![build],
            Self::NoGpu(error) => error.hints(),
        }
    }
}

impl Workbench {
    /// Opens the bundle, loads the library and starts the device; every engine proves itself on the self-test first.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn open(setup: Setup) -> Result<Self, SetupError> {
        // Taking the card is part of getting ready.
        let began = Instant::now();
        let gpu = match setup.device {
            DeviceChoice::Cpu => None,
            DeviceChoice::Cuda(number) => Some(cuda::look(&setup.home, number).map_err(SetupError::NoGpu)?),
            DeviceChoice::Auto => match cuda::look(&setup.home, 0) {
                Ok(found) => Some(found),
                // A GPU that is there and does not work is a failure, not a reason to be slow.
                Err(error) if !error.is_absence() => return Err(SetupError::NoGpu(error)),
                Err(error) => {
                    tracing::info!(reason = %error, "device: cpu");
                    None
                }
            },
        };
        let bundle = Bundle::open(&setup.bundle, &setup.home)?;
        match gpu {
            Some(found) => Self::on_gpu(&found, bundle, setup, began),
            None => Self::on_cpu(bundle, setup),
        }
    }

    fn on_cpu(bundle: Bundle, setup: Setup) -> Result<Self, SetupError> {
        let environment = library::environment(&library::expected_path(&setup.home))?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits {
            segmentation_rows_max: setup.batch_rows.unwrap_or(SEGMENTATION_ROWS),
            embedding_rows_max: setup.batch_rows.unwrap_or(EMBEDDING_ROWS),
            rows_min: 1,
            lanes: setup.threads.unwrap_or_else(cores).max(1),
        };
        let factories: Vec<_> = (0..limits.lanes)
            .map(|_| {
                let (environment, bundle) = (environment.clone(), bundle.clone());
                move || {
                    let mut engine = CpuEngine::load(&environment, &bundle)?;
                    selftest::check(&mut engine, &bundle.manifest)?;
                    Ok(engine)
                }
            })
            .collect();
        let device = Device::start(factories, limits)
            .map_err(|source| SetupError::Engine { bundle: bundle.dir.clone(), source })?;
        let device_name = "cpu".to_owned();
        Ok(Self { bundle, device, device_name, gpu_name: None, limits: setup.limits })
    }

    fn on_gpu(found: &Found, bundle: Bundle, setup: Setup, began: Instant) -> Result<Self, SetupError> {
        let wanted =
            CudaSetup { memory: setup.device_memory, lanes: setup.threads, batch_rows: setup.batch_rows };
        let prepared = cuda::prepare(found, &bundle, &setup.home, &wanted).map_err(SetupError::NoGpu)?;
        let sound = Arc::new(selftest::sound_for(&bundle.manifest));
        let factories: Vec<_> = (0..prepared.limits().lanes)
            .map(|_| {
                let (prepared, bundle, sound) = (prepared.clone(), bundle.clone(), sound.clone());
                move || {
                    let mut engine = prepared.engine()?;
                    selftest::check(&mut engine, &bundle.manifest)?;
                    engine.warm_up(&bundle.manifest, &sound)?;
                    Ok::<_, LaneError>(engine)
                }
            })
            .collect();
        let device = Device::start(factories, prepared.limits())
            .map_err(|source| SetupError::Engine { bundle: bundle.dir.clone(), source })?
            .with_gauges(prepared.gauges());
        let peak_bytes = device.gauges().map_or(0, |gauges| gauges.high_water_bytes);
        tracing::info!(
            gpu = prepared.name(),
            lanes = device.lanes(),
            seconds = began.elapsed().as_secs_f64(),
            peak_bytes,
            "device: {}",
            prepared.label()
        );
        let gpu_name = Some(prepared.name().to_owned());
        Ok(Self { bundle, device, device_name: prepared.label(), gpu_name, limits: setup.limits })
    }

    /// Jobs at once that keep the device busy.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.device.lanes() * if self.gpu_name.is_some() { JOBS_PER_GPU_LANE } else { 1 }
    }
}
