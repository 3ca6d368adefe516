//! Why no card can be used.

use std::path::PathBuf;

use cudarc::driver::sys::CUresult;

use super::board::BoardError;

/// See the module; variants in the order in which a machine is looked at.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// This program was built without the feature `cuda`.
    #[error("this program was built without CUDA")]
    NotBuilt,
    /// No `libcuda.so.1`.
    #[error("there is no NVIDIA driver: libcuda.so.1 cannot be loaded")]
    NoDriver,
    /// The driver is there and does not work.
    #[error("the NVIDIA driver does not work: {detail}")]
    Driver {
        /// What it calls the error.
        code: CUresult,
        /// What it said.
        detail: String,
    },
    /// The kernel knows cards, and the driver's library shows none.
    #[error("the kernel's NVIDIA driver has {cards} GPUs, and none can be reached")]
    Unreachable {
        /// How many.
        cards: usize,
        /// What the library said.
        source: Box<CudaError>,
    },
    /// The driver is of an earlier CUDA.
    #[error("the NVIDIA driver knows CUDA up to {found}; {needed} is needed")]
    OldDriver {
        /// Its CUDA.
        found: String,
        /// The oldest one that will do.
        needed: &'static str,
    },
    /// No card of that number.
    #[error("there is no GPU number {ordinal}: the driver shows {count}")]
    NoDevice {
        /// What was asked for.
        ordinal: u32,
        /// How many there are.
        count: i32,
    },
    /// The card is older than the libraries know.
    #[error("{name} has compute capability {found}; {needed} or later is needed")]
    OldDevice {
        /// The card.
        name: String,
        /// Its capability.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// ONNX Runtime's build for GPUs is not there.
    #[error("ONNX Runtime for GPUs is not installed: {}", path.display())]
    NoRuntime {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// A library that it needs does not load.
    #[error("{name} cannot be loaded (looked in {looked}): {detail}")]
    Library {
        /// File name.
        name: String,
        /// Where it was looked for.
        looked: String,
        /// What the loader said.
        detail: String,
    },
    /// The kernels do not compile.
    #[error("the kernels do not compile for {arch}: {detail}")]
    Kernels {
        /// The architecture.
        arch: String,
        /// What NVRTC said.
        detail: String,
    },
    /// A setting that means nothing.
    #[error("not a number of bytes or a share of the device: `{value}`")]
    Budget {
        /// The setting.
        value: String,
    },
    /// A second card in one process.
    #[error("this process uses GPU {used} already; GPU {wanted} needs a process of its own")]
    OtherDevice {
        /// The card in use.
        used: u32,
        /// The one asked for.
        wanted: u32,
    },
    /// The card refuses something while it is set up.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// ONNX Runtime refuses something while it is set up.
    #[error("ONNX Runtime refuses to {what}")]
    Runtime {
        /// What.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CudaError {
    /// Whether the machine simply is not one with a usable GPU, so that `--device auto` takes the CPU: there is none, or none
    /// of a kind that this program was made for. A GPU that is there and broken is not that.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NotBuilt
                | Self::NoDriver
                | Self::Driver { code: CUresult::CUDA_ERROR_NO_DEVICE, .. }
                | Self::OldDriver { .. }
                | Self::NoDevice { count: ..=0, .. }
                | Self::OldDevice { .. }
                | Self::NoRuntime { .. }
        )
    }

    /// What to try, one line each.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let cpu = "use `--device cpu`, or `--device auto` to take what there is".to_owned();
        let own = match self {
            Self::Unreachable { .. } => {
                "`nvidia-smi` tells whether the driver works; `nvidia-modprobe -u -c=255 -c=0`, as root, makes its device files"
                    .to_owned()
            }
            // Of no GPU it says below what it says of no driver.
            Self::Driver { code, .. } if *code != CUresult::CUDA_ERROR_NO_DEVICE => {
                "`nvidia-smi` tells whether the driver works, and what else uses the GPU".to_owned()
            }
            Self::NoDriver | Self::Driver { .. } | Self::OldDriver { .. } => {
                "install NVIDIA's driver, release 580 or later, and give the container access to the GPU"
                    .to_owned()
            }
            Self::NoRuntime { .. } => "install it with `rollcall-provision runtime --gpu`".to_owned(),
            Self::Library { .. } => format!(
                "`rollcall-provision runtime --gpu` installs it; `{}` names folders with CUDA libraries",
                super::LIBRARIES_VARIABLE
            ),
            Self::NoDevice { .. } => "`nvidia-smi -L` lists the GPUs".to_owned(),
            Self::NotBuilt => "build the worker with its default features".to_owned(),
            _ => return vec![cpu],
        };
        vec![own, cpu]
    }
}
