//! Finding and loading the inference library, once a process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::home::{Home, ONNXRUNTIME_VERSION};
use ort::environment::Environment;

/// Environment variable that names another library than the one in the home folder.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Why there is no inference library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file does not exist.
    #[error("ONNX Runtime is not installed: {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not a library of the release these programs need.
    #[error("{} is not ONNX Runtime {ONNXRUNTIME_VERSION} (found {found})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// `1.N`, or what else is there.
        found: String,
    },
    /// The library is there, but does not load.
    #[error("ONNX Runtime does not load: {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The one environment of this process, kept for its lifetime.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// The library that the environment names.
#[must_use]
pub fn chosen() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Where the library for the CPU is expected; where only the one for GPUs is installed, that one, which knows the CPU too.
#[must_use]
pub fn expected_path(home: &Home) -> PathBuf {
    let (cpu, gpu) = (home.onnxruntime_library(), home.onnxruntime_gpu_library());
    chosen().unwrap_or(if !cpu.is_file() && gpu.is_file() { gpu } else { cpu })
}

/// Loads the library, or hands out the environment that an earlier call made.
///
/// # Errors
/// See [`LibraryError`].
pub fn environment(path: &Path) -> Result<Environment, LibraryError> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*slot {
        return Ok(environment.clone());
    }
    if !path.is_file() {
        return Err(LibraryError::Missing { path: path.to_owned() });
    }
    let needed = ONNXRUNTIME_VERSION.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    let found = ort::util::probe(path);
    if found != needed {
        let found = found.map_or_else(|| "no readable version".to_owned(), |minor| format!("1.{minor}"));
        return Err(LibraryError::Version { path: path.to_owned(), found });
    }
    let load = |source| LibraryError::Load { path: path.to_owned(), source };
    let environment = ort::init_from(path)
        .map_err(|e| load(Box::new(e)))?
        .with_name("rollcall")
        .with_telemetry(false)
        .build()
        .map_err(|e| load(Box::new(e)))?;
    *slot = Some(environment.clone());
    Ok(environment)
}
