//! A bundle of any two ONNX networks, described by a manifest that a user wrote.
//!
//! The manifest is the bundle's own (`common::model::manifest`), without its self-test; its files lie beside it. Each has
//! to have the stated size and digest, and a network has to hold every number it needs. `BUNDLES.md` has an example.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use common::model::manifest::{self, BundleFile, Manifest, ManifestError};
use common::model::onnx::{self, OnnxError};

use crate::digest;
use crate::recipe::{Recipe, community1};

/// Largest bundle, bytes (contract, section 9).
pub const BUNDLE_BYTES_MAX: u64 = 4 << 30;

/// Why a described bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum DescribedError {
    /// The manifest, or a file beside it, cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The manifest is refused.
    #[error("the manifest `{}` is refused", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A name that one of Rollcall's own recipes has.
    #[error("a bundle of this name has a recipe of its own: `{name}`")]
    Reserved {
        /// The name.
        name: String,
    },
    /// A file without a licence or an origin.
    #[error("the manifest says nothing about the {what} of `{path}`")]
    Unlicensed {
        /// Which file.
        path: String,
        /// `licence`, `attribution` or `source`.
        what: &'static str,
    },
    /// Files that are too large together.
    #[error("the bundle is too large: {bytes} bytes, at most {BUNDLE_BYTES_MAX}")]
    TooLarge {
        /// Their size.
        bytes: u64,
    },
    /// A file of another size or digest.
    #[error("`{path}` has {what} {found}; the manifest says {wanted}")]
    Differs {
        /// Which file.
        path: String,
        /// `size` or `sha256`.
        what: &'static str,
        /// What it has.
        found: Box<str>,
        /// What it should have.
        wanted: Box<str>,
    },
    /// A network that is not whole, or refers to data outside its file.
    #[error("network `{path}` is refused")]
    Network {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: OnnxError,
    },
}

/// A manifest that was read, and the folder its files lie in.
#[derive(Debug)]
pub struct Described {
    manifest: Manifest,
    folder: PathBuf,
}

impl Described {
    /// Reads a manifest; a self-test in it is dropped, as the worker here makes a new one.
    ///
    /// # Errors
    /// Unreadable, refused, reserved, unlicensed or too large.
    pub fn read(path: &Path) -> Result<Self, DescribedError> {
        let unreadable = |source| DescribedError::Unreadable { path: path.to_owned(), source };
        let mut json = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(manifest::BYTES_MAX).read_to_end(&mut json).map_err(unreadable)?;
        let mut manifest = Manifest::parse(&json)
            .map_err(|source| DescribedError::Manifest { path: path.to_owned(), source })?;
        manifest.selftest = None;
        manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
        if Recipe::of(&manifest.name).is_some() || manifest.name == community1::NAME {
            return Err(DescribedError::Reserved { name: manifest.name });
        }
        for file in &manifest.files {
            let said =
                [("licence", &file.licence), ("attribution", &file.attribution), ("source", &file.source)];
            if let Some((what, _)) = said.into_iter().find(|(_, text)| text.trim().is_empty()) {
                return Err(DescribedError::Unlicensed { path: file.path.clone(), what });
            }
        }
        let bytes = manifest.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.bytes));
        if bytes > BUNDLE_BYTES_MAX {
            return Err(DescribedError::TooLarge { bytes });
        }
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        Ok(Self { manifest, folder })
    }

    /// The manifest, without a self-test.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A file, as the manifest says; a network is looked into.
    ///
    /// # Errors
    /// Unreadable, of another size or digest, or a refused network.
    pub fn read_file(&self, file: &BundleFile) -> Result<Vec<u8>, DescribedError> {
        let path = self.folder.join(&file.path);
        let unreadable = |source| DescribedError::Unreadable { path: path.clone(), source };
        let opened = File::open(&path).map_err(unreadable)?;
        let bytes = opened.metadata().map_err(unreadable)?.len();
        let differs = |what, found: String, wanted: String| DescribedError::Differs {
            path: file.path.clone(),
            what,
            found: found.into(),
            wanted: wanted.into(),
        };
        if bytes != file.bytes {
            return Err(differs("size", bytes.to_string(), file.bytes.to_string()));
        }
        let mut content = Vec::new();
        opened.take(file.bytes).read_to_end(&mut content).map_err(unreadable)?;
        let found = digest::of(&content);
        if found != file.sha256 {
            return Err(differs("sha256", found, file.sha256.clone()));
        }
        if self.manifest.network_files().contains(&file.path.as_str()) {
            onnx::inspect(&content)
                .map_err(|source| DescribedError::Network { path: file.path.clone(), source })?;
        }
        Ok(content)
    }
}
