//! `ROLLCALL_HOME`: where bundles and the inference library lie on this machine.
//!
//! ```text
//! bundles/{name}/{version}/manifest.json …   one folder per version, complete or absent (renamed into place)
//! bundles/{name}/current                     symbolic link to the version in use
//! bundles/{name}/previous                    symbolic link to the version in use before, for `rollback`
//! runtimes/onnxruntime/{version}/libonnxruntime.so
//! runtimes/onnxruntime-gpu/{version}/…       the build for GPUs, with the CUDA libraries that it needs
//! cache/                                     downloads that may be deleted at any time
//! partial/                                   folders being written; what a killed program left is removed by the next
//! locks/                                     empty files that programs hold locks on while they write
//! ```
//! Invariant: this is the only place that spells these paths.

use std::path::{Path, PathBuf};

/// Environment variable that overrides the default folder.
pub const VARIABLE: &str = "ROLLCALL_HOME";
/// The ONNX Runtime release that the programs are built and tested against.
pub const ONNXRUNTIME_VERSION: &str = "1.31.1";

/// The home folder of one user or machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// A home at an explicit place.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The place that `lookup` (usually the environment) gives: `ROLLCALL_HOME`, else `XDG_DATA_HOME/rollcall`, else
    /// `HOME/.local/share/rollcall`. `None` when none of the three is set.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        set(VARIABLE)
            .map(PathBuf::from)
            .or_else(|| set("XDG_DATA_HOME").map(|data| Path::new(&data).join("rollcall")))
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/share/rollcall")))
            .map(Self::at)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that holds every bundle.
    #[must_use]
    pub fn bundles(&self) -> PathBuf {
        self.root.join("bundles")
    }

    /// The folder that holds every version of a bundle.
    #[must_use]
    pub fn bundle(&self, name: &str) -> PathBuf {
        self.bundles().join(name)
    }

    /// The folder of one version of a bundle.
    #[must_use]
    pub fn bundle_version(&self, name: &str, version: &str) -> PathBuf {
        self.bundle(name).join(version)
    }

    /// The link to the version of a bundle that is in use.
    #[must_use]
    pub fn bundle_current(&self, name: &str) -> PathBuf {
        self.bundle(name).join("current")
    }

    /// The link to the version of a bundle that was in use before.
    #[must_use]
    pub fn bundle_previous(&self, name: &str) -> PathBuf {
        self.bundle(name).join("previous")
    }

    /// The folder of the ONNX Runtime release this build uses.
    #[must_use]
    pub fn onnxruntime(&self) -> PathBuf {
        self.root.join("runtimes/onnxruntime").join(ONNXRUNTIME_VERSION)
    }

    /// The inference library itself.
    #[must_use]
    pub fn onnxruntime_library(&self) -> PathBuf {
        self.onnxruntime().join("libonnxruntime.so")
    }

    /// The folder of the same release built for GPUs, with the CUDA libraries that it needs.
    #[must_use]
    pub fn onnxruntime_gpu(&self) -> PathBuf {
        self.root.join("runtimes/onnxruntime-gpu").join(ONNXRUNTIME_VERSION)
    }

    /// The inference library for GPUs.
    #[must_use]
    pub fn onnxruntime_gpu_library(&self) -> PathBuf {
        self.onnxruntime_gpu().join("libonnxruntime.so")
    }

    /// Downloads that may be deleted at any time.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Folders that are being written, on the same file system as everything they are renamed to.
    #[must_use]
    pub fn partial(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// The file that whoever writes `what` holds a lock on.
    #[must_use]
    pub fn lock(&self, what: &str) -> PathBuf {
        self.root.join("locks").join(format!("{what}.lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_read_in_order() {
        let home = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Home::from_environment(move |name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        assert_eq!(home(&[("ROLLCALL_HOME", "/a"), ("HOME", "/h")]), Some(Home::at("/a")));
        assert_eq!(home(&[("ROLLCALL_HOME", ""), ("XDG_DATA_HOME", "/x")]), Some(Home::at("/x/rollcall")));
        assert_eq!(home(&[("HOME", "/h")]), Some(Home::at("/h/.local/share/rollcall")));
        assert_eq!(home(&[]), None);
    }
}
