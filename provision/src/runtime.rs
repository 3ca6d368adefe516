//! ONNX Runtime's shared library, out of its wheel.

use std::path::{Path, PathBuf};

use common::home::Home;

use crate::archive::{Archive, ArchiveError};
use crate::place::{Lock, PlaceError};
use crate::progress::Progress;
use crate::wheel::{self, Pin, Source, WheelError};
use crate::{digest, gpu_runtime};

/// The package that holds the library.
const PACKAGE: &str = "onnxruntime";
/// Largest library that is unpacked, bytes; the pinned one has 29 MB.
pub(crate) const LIBRARY_BYTES_MAX: u64 = 256 << 20;
const NOTICE_BYTES_MAX: u64 = 4 << 20;
/// Members of the wheel that go beside the library.
const NOTICES: [(&str, &str); 2] =
    [("onnxruntime/LICENSE", "LICENSE"), ("onnxruntime/ThirdPartyNotices.txt", "ThirdPartyNotices.txt")];
/// Written last into the folder: the digest of the library as it was unpacked.
pub(crate) const DIGEST_FILE: &str = "libonnxruntime.so.sha256";

/// Name of the library in its folder.
const LIBRARY_FILE: &str = "libonnxruntime.so";

/// Why the library could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No wheel is pinned for this machine.
    #[error("there is no pinned ONNX Runtime for {os} on {architecture}; only Linux on x86_64")]
    Platform {
        /// Operating system.
        os: &'static str,
        /// Processor architecture.
        architecture: &'static str,
    },
    /// The wheel could not be had.
    #[error("the wheel of ONNX Runtime could not be had")]
    Wheel(#[from] WheelError),
    /// The wheel does not hold what it should.
    #[error("the wheel of ONNX Runtime cannot be unpacked")]
    Unpack(#[from] ArchiveError),
    /// The disk.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Which build of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For CPUs: the library alone.
    Cpu,
    /// For GPUs, with the CUDA libraries that it needs.
    Gpu,
}

impl Kind {
    /// What stores and messages call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "onnxruntime",
            Self::Gpu => "onnxruntime-gpu",
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(self, home: &Home) -> PathBuf {
        match self {
            Self::Cpu => home.onnxruntime(),
            Self::Gpu => home.onnxruntime_gpu(),
        }
    }

    /// Whether it lies in place, unharmed as far as [`Kind::is_whole`] looks.
    #[must_use]
    pub fn is_installed(self, home: &Home) -> bool {
        self.is_whole(&self.folder(home))
    }

    pub(crate) fn is_whole(self, folder: &Path) -> bool {
        match self {
            Self::Cpu => is_whole(folder),
            Self::Gpu => gpu_runtime::is_whole(folder),
        }
    }

    /// The file that says what belongs to it.
    pub(crate) fn list_file(self) -> &'static str {
        match self {
            Self::Cpu => DIGEST_FILE,
            Self::Gpu => gpu_runtime::LIST_FILE,
        }
    }

    /// Largest file of it, bytes.
    pub(crate) fn file_bytes_max(self) -> u64 {
        match self {
            Self::Cpu => LIBRARY_BYTES_MAX,
            Self::Gpu => gpu_runtime::FILE_BYTES_MAX,
        }
    }

    /// Largest archive of it, bytes.
    pub(crate) fn archive_bytes_max(self) -> u64 {
        match self {
            Self::Cpu => LIBRARY_BYTES_MAX,
            Self::Gpu => 4 << 30,
        }
    }
}

/// Whether [`install`] had to do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It was there, with the right digest.
    Already,
    /// It was unpacked.
    Fresh,
}

/// The pin of the library's wheel.
///
/// # Errors
/// [`RuntimeError::Platform`] on a machine without one.
pub fn pin() -> Result<Pin, RuntimeError> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    Pin::of(PACKAGE).filter(|_| (os, architecture) == ("linux", "x86_64")).ok_or_else(no_pin)
}

pub(crate) fn no_pin() -> RuntimeError {
    RuntimeError::Platform { os: std::env::consts::OS, architecture: std::env::consts::ARCH }
}

/// Puts the library at [`Home::onnxruntime_library`], its licence beside it. Does nothing when it lies there unharmed.
///
/// # Errors
/// Any [`RuntimeError`]; the folder is complete or absent afterwards.
pub fn install(
    home: &Home,
    pin: &Pin,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Installed, RuntimeError> {
    if is_installed(home) {
        return Ok(Installed::Already);
    }
    let lock = Lock::acquire(home, "onnxruntime", || progress.step("waiting for another installation"))?;
    if is_installed(home) {
        return Ok(Installed::Already);
    }
    let wheel = wheel::obtain(pin, source, &home.cache(), &lock, progress)?;
    progress.step(&format!("unpacking ONNX Runtime {}", pin.version));
    let wheel = Archive::open(&wheel)?;
    let member = format!("onnxruntime/capi/libonnxruntime.so.{}", pin.version);
    let library = wheel.read(&member, LIBRARY_BYTES_MAX)?;
    let partial = lock.partial()?;
    for (member, name) in NOTICES {
        partial.write(&format!("new/{name}"), &wheel.read(member, NOTICE_BYTES_MAX)?)?;
    }
    partial.write(&format!("new/{LIBRARY_FILE}"), &library)?;
    partial.write(&format!("new/{DIGEST_FILE}"), digest::of(&library).as_bytes())?;
    partial.publish("new", &home.onnxruntime())?;
    Ok(Installed::Fresh)
}

/// Whether the library lies in place with the digest it was unpacked with.
#[must_use]
pub fn is_installed(home: &Home) -> bool {
    is_whole(&home.onnxruntime())
}

/// Whether a folder holds the library with the digest that lies beside it.
pub(crate) fn is_whole(folder: &Path) -> bool {
    let wanted = std::fs::read_to_string(folder.join(DIGEST_FILE));
    let found = digest::of_file(&folder.join(LIBRARY_FILE), LIBRARY_BYTES_MAX);
    matches!((wanted, found), (Ok(wanted), Ok((found, _))) if wanted == found)
}
