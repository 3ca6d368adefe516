//! Checking a bundle against its manifest, without any network.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use common::model::manifest::{BYTES_MAX, FILE_NAME, FILES_MAX, Manifest, ManifestError};

use crate::digest;

/// Why a folder is not a whole bundle.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The folder, or a file in it, cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The manifest is refused.
    #[error("the manifest of `{}` is refused", folder.display())]
    Manifest {
        /// The bundle.
        folder: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A file that is not the one the manifest describes.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is different.
        what: &'static str,
    },
    /// A file that the manifest does not name.
    #[error("`{}` does not belong to the bundle", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
}

/// Reads a bundle's manifest and checks the name, size and digest of every file, and that there are no others.
///
/// # Errors
/// The first thing that is wrong.
pub fn bundle(folder: &Path) -> Result<Manifest, VerifyError> {
    let manifest = manifest(folder)?;
    for file in &manifest.files {
        let path = folder.join(&file.path);
        let damaged = |what| VerifyError::Damaged { path: path.clone(), what };
        let unreadable = |source| VerifyError::Unreadable { path: path.clone(), source };
        let metadata = fs::symlink_metadata(&path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(damaged("it is not a regular file"));
        }
        if metadata.len() != file.bytes {
            return Err(damaged("it has another size"));
        }
        let (found, _) = digest::of_file(&path, file.bytes).map_err(unreadable)?;
        if found != file.sha256 {
            return Err(damaged("it has another digest"));
        }
    }
    let listed: BTreeSet<PathBuf> = manifest.files.iter().map(|file| folder.join(&file.path)).collect();
    let foreign = files_in(folder)?.into_iter().find(|path| !listed.contains(path));
    match foreign {
        Some(path) => Err(VerifyError::Foreign { path }),
        None => Ok(manifest),
    }
}

/// The manifest alone.
///
/// # Errors
/// Unreadable or refused.
pub fn manifest(folder: &Path) -> Result<Manifest, VerifyError> {
    let path = folder.join(FILE_NAME);
    let mut json = Vec::new();
    fs::File::open(&path)
        .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut json))
        .map_err(|source| VerifyError::Unreadable { path, source })?;
    Manifest::parse(&json).map_err(|source| VerifyError::Manifest { folder: folder.to_owned(), source })
}

/// Every path below `folder` that is not a folder, but the manifest; gives up above what a bundle may list.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, VerifyError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).map_err(|source| VerifyError::Unreadable { path: next, source })?;
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if path != folder.join(FILE_NAME) {
                files.push(path);
            }
            if files.len() + folders.len() > 2 * FILES_MAX {
                return Ok(files);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
