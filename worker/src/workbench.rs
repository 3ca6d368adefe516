//! What every job of a process shares: the bundle, the device, the limits.

use std::path::PathBuf;
use std::str::FromStr;

use common::home::Home;

use crate::audio::AudioLimits;
use crate::batch::plan::Limits;
use crate::device::bundle::{Bundle, BundleError};
use crate::device::handle::Device;
use crate::device::ort::engine::{CpuEngine, StartError};
use crate::device::ort::library::{self, LibraryError};
use crate::selftest::{self, SelfTestError};

/// Rows of one segmentation batch on a CPU. Measured with two lanes: 2, 4, 8 and 16 chunks take 264, 352, 526 and
/// 890 MB, and from 4 on nothing gets faster.
pub const SEGMENTATION_ROWS: usize = 4;
/// Rows of one embedding batch on a CPU; larger ones gain nothing.
pub const EMBEDDING_ROWS: usize = 4;

/// What to set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Folder or name of the bundle.
    pub bundle: String,
    /// Where bundles and the inference library lie.
    pub home: Home,
    /// `auto` or `cpu`.
    pub device: DeviceChoice,
    /// Engines on the CPU, one thread each.
    pub threads: usize,
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
    /// What audio is accepted.
    pub limits: AudioLimits,
}

/// Why an engine takes no work.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Its networks do not load.
    #[error(transparent)]
    Load(#[from] StartError),
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
    /// A GPU was asked for.
    #[error("no GPU can be used: {reason}")]
    NoGpu {
        /// Why not.
        reason: String,
    },
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
            Self::NoGpu { .. } => {
                vec!["use `--device cpu`, or `--device auto` to take what there is".to_owned()]
            }
        }
    }
}

impl Workbench {
    /// Opens the bundle, loads the library and starts the device; every engine proves itself on the self-test first.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn open(setup: Setup) -> Result<Self, SetupError> {
        if let DeviceChoice::Cuda(number) = setup.device {
            return Err(SetupError::NoGpu {
                reason: format!("this build has no CUDA engine (asked for cuda:{number})"),
            });
        }
        let bundle = Bundle::open(&setup.bundle, &setup.home)?;
        let environment = library::environment(&library::expected_path(&setup.home))?;
        let limits = Limits {
            segmentation_rows_max: setup.batch_rows.unwrap_or(SEGMENTATION_ROWS),
            embedding_rows_max: setup.batch_rows.unwrap_or(EMBEDDING_ROWS),
            rows_min: 1,
            lanes: setup.threads,
        };
        let factories: Vec<_> = (0..setup.threads.max(1))
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
        Ok(Self { bundle, device, device_name: "cpu".to_owned(), limits: setup.limits })
    }
}
