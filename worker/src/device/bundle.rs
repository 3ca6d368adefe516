//! A bundle on disk, opened: its manifest parsed, every file's size and digest checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::home::Home;
use common::model::manifest::{self, Clustering, Manifest, ManifestError};
use common::model::onnx::{self, OnnxError};
use sha2::{Digest, Sha256};

use super::safetensors::{self, SafetensorsError};
use crate::diarize::cluster::plda::{Plda, PldaArrays, PldaError};
use crate::diarize::pipeline::{Pipeline, PipelineError};

/// Largest file of PLDA arrays that is read, bytes; the one at hand has 0.5 MB.
const PLDA_BYTES_MAX: u64 = 256 << 20;

/// A verified bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Where it lies.
    pub dir: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of the manifest file, which names every other digest: the bundle's identity, lower-case hex.
    pub sha256: String,
    /// The PLDA that its clustering names, ready for use.
    pub plda: Option<Arc<Plda>>,
}

/// Why a bundle cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// No such folder, or no manifest in it.
    #[error("no bundle `{wanted}`: {}", dir.display())]
    Missing {
        /// What was asked for.
        wanted: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Neither a folder nor a bundle's name.
    #[error("neither a folder nor the name of a bundle: `{wanted}`")]
    BadName {
        /// What was asked for.
        wanted: String,
    },
    /// The manifest is refused.
    #[error("the bundle in {} is not usable", dir.display())]
    Manifest {
        /// The bundle's folder.
        dir: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// A file differs from what the manifest says.
    #[error("`{path}` of the bundle has {what} {found}; the manifest says {expected}")]
    Damaged {
        /// The file.
        path: String,
        /// `size` or `digest`.
        what: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A network that is not whole, or refers to data outside its file.
    #[error("`{path}` of the bundle is not usable")]
    Network {
        /// The file.
        path: String,
        /// Why.
        source: OnnxError,
    },
    /// The file of PLDA arrays is not one.
    #[error("`{path}` of the bundle is not usable")]
    Arrays {
        /// The file.
        path: String,
        /// Why.
        source: SafetensorsError,
    },
    /// The arrays are no PLDA.
    #[error("`{path}` of the bundle is not usable")]
    Plda {
        /// The file.
        path: String,
        /// Why.
        source: PldaError,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Bundle {
    /// Opens `wanted`: a folder, or `NAME[@VERSION]` in `home`.
    ///
    /// # Errors
    /// See [`BundleError`].
    pub fn open(wanted: &str, home: &Home) -> Result<Self, BundleError> {
        let dir = locate(wanted, home)?;
        let path = dir.join(manifest::FILE_NAME);
        let json = read_bounded(&path, manifest::BYTES_MAX).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                BundleError::Missing { wanted: wanted.to_owned(), dir: dir.clone() }
            }
            _ => BundleError::Unreadable { path: path.clone(), source },
        })?;
        let manifest =
            Manifest::parse(&json).map_err(|source| BundleError::Manifest { dir: dir.clone(), source })?;
        let mut bundle = Self { sha256: hex(&Sha256::digest(&json)), dir, manifest, plda: None };
        bundle.verify()?;
        bundle.look_into_networks()?;
        if let Clustering::Vbx(parameters) = &bundle.manifest.clustering {
            bundle.plda = Some(Arc::new(bundle.read_plda(&parameters.plda_file)?));
        }
        Ok(bundle)
    }

    /// The bundle's way from observations to turns.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub fn pipeline(&self) -> Result<Pipeline, PipelineError> {
        Pipeline::new(&self.manifest, self.plda.clone())
    }

    /// The place of one of the bundle's files.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Refuses networks that refer to data outside their file.
    fn look_into_networks(&self) -> Result<(), BundleError> {
        for path in self.manifest.network_files() {
            let listed = self.manifest.files.iter().find(|file| file.path == path);
            let content = self.read(path, listed.map_or(0, |file| file.bytes))?;
            onnx::inspect(&content)
                .map_err(|source| BundleError::Network { path: path.to_owned(), source })?;
        }
        Ok(())
    }

    fn read_plda(&self, path: &str) -> Result<Plda, BundleError> {
        let refused = |source| BundleError::Arrays { path: path.to_owned(), source };
        let mut arrays = safetensors::arrays(&self.read(path, PLDA_BYTES_MAX)?).map_err(refused)?;
        // A missing array is an empty one, which no PLDA accepts.
        let mut take = |name: &str| arrays.remove(name).unwrap_or_default();
        let arrays = PldaArrays {
            mean1: take("mean1"),
            mean2: take("mean2"),
            lda: take("lda"),
            mu: take("mu"),
            tr: take("tr"),
            psi: take("psi"),
        };
        Plda::new(arrays).map_err(|source| BundleError::Plda { path: path.to_owned(), source })
    }

    fn read(&self, path: &str, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
        let path = self.file(path);
        read_bounded(&path, bytes_max).map_err(|source| BundleError::Unreadable { path, source })
    }

    fn verify(&self) -> Result<(), BundleError> {
        for file in &self.manifest.files {
            let path = self.file(&file.path);
            let unreadable = |source| BundleError::Unreadable { path: path.clone(), source };
            let damaged = |what, found, expected| BundleError::Damaged {
                path: file.path.clone(),
                what,
                found,
                expected,
            };
            let mut reader = File::open(&path).map_err(unreadable)?;
            let bytes = reader.metadata().map_err(unreadable)?.len();
            if bytes != file.bytes {
                return Err(damaged("size", bytes.to_string(), file.bytes.to_string()));
            }
            let mut hasher = Sha256::new();
            let mut buffer = vec![0; 1 << 16];
            loop {
                let n = reader.read(&mut buffer).map_err(unreadable)?;
                if n == 0 {
                    break;
                }
                hasher.update(&buffer[..n]);
            }
            let found = hex(&hasher.finalize());
            if found != file.sha256 {
                return Err(damaged("digest", found, file.sha256.clone()));
            }
        }
        Ok(())
    }
}

/// Where a bundle lies: NAME[@VERSION] and the address of one in a store in the home folder, anything else where it says. A
/// folder here that is called like a bundle is `./NAME`.
fn locate(wanted: &str, home: &Home) -> Result<PathBuf, BundleError> {
    let in_store = wanted.contains("://").then(|| wanted.rsplit_once("/bundles/"));
    let named = match in_store {
        Some(Some((_, name))) => name,
        Some(None) => return Err(BundleError::BadName { wanted: wanted.to_owned() }),
        None => wanted,
    };
    let (name, version) = match named.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (named, None),
    };
    if manifest::is_name(name) && version.is_none_or(manifest::is_version) {
        return Ok(version.map_or_else(|| home.bundle_current(name), |v| home.bundle_version(name, v)));
    }
    if in_store.is_some() {
        return Err(BundleError::BadName { wanted: wanted.to_owned() });
    }
    Ok(PathBuf::from(wanted))
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
