//! The libraries that ONNX Runtime's CUDA provider and NVRTC need, loaded by their paths, in order.
//!
//! A library that is loaded already is found by its name from then on, so that nobody has to set a search path for the
//! process.
#![allow(unsafe_code)] // The dynamic loader.

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::error::CudaError;

/// Environment variable with folders of CUDA libraries, `:` between them, that come after the runtime's own.
pub const LIBRARIES_VARIABLE: &str = "ROLLCALL_CUDA_LIBRARIES";

/// Each after those it needs. cuDNN's other parts are loaded by its first one, from its own folder.
const LIBRARIES: [&str; 6] =
    ["libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", NVRTC, "libcudnn.so.9"];
const NVRTC: &str = "libnvrtc.so.13";

/// A library that is loaded, for the life of the process.
#[derive(Debug)]
pub(super) struct Library {
    handle: *mut c_void,
    /// Its path, or the name that the system knows it by.
    at: PathBuf,
}

impl Library {
    /// A function of this library, whatever others have one of that name.
    ///
    /// # Errors
    /// [`CudaError::Library`] when it has none.
    ///
    /// # Safety
    /// `F` has to be a function pointer of that function's type.
    pub unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, CudaError> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>(), "a function pointer") };
        // SAFETY: the handle is of a library that stays, the name ends with a zero.
        let found = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if found.is_null() {
            return Err(self.refused(format!("it has no function {}", name.to_string_lossy())));
        }
        // SAFETY: a pointer that is not null and, by the caller's word, of such a function; the sizes are the same.
        Ok(unsafe { std::mem::transmute_copy(&found) })
    }

    /// Why it will not do.
    pub fn refused(&self, detail: String) -> CudaError {
        let name = self.at.file_name().unwrap_or_default().to_string_lossy().into_owned();
        CudaError::Library { name, looked: self.at.display().to_string(), detail }
    }
}

/// Loads them from the first of the folders that has each, or from where the system has it. They stay for the life of the
/// process.
///
/// # Errors
/// [`CudaError::Library`].
pub(super) fn load_all(folders: &[PathBuf]) -> Result<(), CudaError> {
    LIBRARIES.iter().try_for_each(|name| load(name, folders).map(drop))
}

/// Loads NVRTC, as [`load_all`] does.
///
/// # Errors
/// [`CudaError::Library`].
pub(super) fn load_nvrtc(folders: &[PathBuf]) -> Result<Library, CudaError> {
    load(NVRTC, folders)
}

/// The runtime's own folder, then those of [`LIBRARIES_VARIABLE`].
pub(super) fn folders(runtime: &Path) -> Vec<PathBuf> {
    let named = std::env::var_os(LIBRARIES_VARIABLE).unwrap_or_default();
    let named = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
    std::iter::once(runtime.to_owned()).chain(named).collect()
}

fn load(name: &str, folders: &[PathBuf]) -> Result<Library, CudaError> {
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    let wanted = found.unwrap_or_else(|| PathBuf::from(name));
    let path = CString::new(wanted.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: a path that ends with a zero. The library's own code runs, which is what is wanted.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Ok(Library { handle, at: wanted });
    }
    // SAFETY: after a failure it gives a text that ends with a zero, until the next call in this thread.
    let said = unsafe { libc::dlerror() };
    let detail = if said.is_null() {
        "it said nothing".to_owned()
    } else {
        // SAFETY: as above.
        unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned()
    };
    let mut looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    looked.push("the system".to_owned());
    Err(CudaError::Library { name: name.to_owned(), looked: looked.join(", "), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named_with_where_it_was_looked_for() {
        let error = load("libnothing-of-that-name.so.99", &[PathBuf::from("/nowhere")]).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with(
                "libnothing-of-that-name.so.99 cannot be loaded (looked in /nowhere, the system)"
            ),
            "{said}"
        );
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libx.so"), b"no library").unwrap();
        let error = load("libx.so", &[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(error, CudaError::Library { detail, .. } if detail.contains("libx.so")));
    }
}
