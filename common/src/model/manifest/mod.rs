//! `manifest.json`: everything the engine knows about a bundle's networks.
//!
//! The engine takes every model-specific number from here; none is spelled in the code that uses it. Unknown keys are
//! errors, so that a manifest from a newer Rollcall fails loudly instead of being half understood.

mod clustering;
mod network;
mod voices;

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::job::digest::ContentDigest;

pub use clustering::{AhcParameters, Clustering, LinkageParameters, SpectralParameters, VbxParameters};
pub use network::{
    Embedding, EmbeddingKind, Feature, InputLayout, RecordingSpan, Segmentation, Tail, Taper, TrunkSpan,
    WindowInput,
};

pub use voices::VoiceParameters;

/// The `schema` of manifests this code reads and writes.
pub const SCHEMA: &str = "rollcall/bundle/1";
/// Name of the manifest inside its bundle.
pub const FILE_NAME: &str = "manifest.json";
/// Largest manifest that is read, bytes.
pub const BYTES_MAX: u64 = 1 << 20;
/// Most files a bundle may list.
pub const FILES_MAX: usize = 256;

/// One model bundle: a folder of files described by this document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Bundle name: lower-case letters, digits, `-`; at most 64 characters.
    pub name: String,
    /// Version: letters, digits, `.`, `-`, `_`; immutable once published.
    pub version: String,
    /// Every other file of the bundle, sorted by path.
    pub files: Vec<BundleFile>,
    /// The segmentation network and its geometry.
    pub segmentation: Segmentation,
    /// The speaker-embedding network and its features.
    pub embedding: Embedding,
    /// How local speakers become speakers of the recording.
    pub clustering: Clustering,
    /// When a speaker is a known voice.
    #[serde(default)]
    pub voices: VoiceParameters,
    /// What the networks answer to a known input; absent only while a bundle is being built.
    pub selftest: Option<SelfTest>,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// Path inside the bundle, `/`-separated, never leaving it.
    pub path: String,
    /// SHA-256 of the content, lower-case hex.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SPDX licence expression.
    pub licence: String,
    /// Who is to be named when the file is passed on.
    pub attribution: String,
    /// What it was made from (package and version, member).
    pub source: String,
}

/// What the networks answer to the self-test signal (`worker::selftest` makes the signal; it is not stored).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Powerset class of every activity frame of the first chunk, as run lengths `[class, frames]`.
    pub segmentation_classes: Vec<[u32; 2]>,
    /// Share of frames whose class may differ.
    pub segmentation_tolerance: f32,
    /// The embedding of the first window (or the first local speaker).
    pub embedding: Vec<f32>,
    /// Largest accepted `1 - cosine` against `embedding`.
    pub embedding_tolerance: f32,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of this shape.
    #[error("the manifest does not parse")]
    Malformed(#[source] serde_json::Error),
    /// Another schema.
    #[error("the manifest has schema `{found}`; this program reads `{SCHEMA}`")]
    Schema {
        /// What stands in the document.
        found: String,
    },
    /// A value outside its bounds.
    #[error("the manifest's `{field}` is out of bounds: {value}")]
    OutOfBounds {
        /// Dotted path of the key.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A path that could leave the bundle.
    #[error("the manifest names a path that is not inside the bundle: `{path}`")]
    PathOutside {
        /// The path.
        path: String,
    },
    /// A clustering that needs another kind of embedding.
    #[error("clustering `{clustering}` does not go with embeddings of kind `{embedding}`")]
    Combination {
        /// `method` of the clustering.
        clustering: &'static str,
        /// `kind` of the embedding.
        embedding: &'static str,
    },
    /// A network file that is not listed under `files`.
    #[error("the manifest uses `{path}`, which is not among its files")]
    NotListed {
        /// The path.
        path: String,
    },
}

impl Manifest {
    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// Any [`ManifestError`]; a manifest that is returned satisfies [`Manifest::check`].
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(json).map_err(ManifestError::Malformed)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The document as it is written to disk: pretty, with a final line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text =
            serde_json::to_string_pretty(self).expect("a manifest holds only strings and finite numbers");
        text.push('\n');
        text
    }

    /// Checks every bound that the engine relies on.
    ///
    /// # Errors
    /// The first violated bound.
    pub fn check(&self) -> Result<(), ManifestError> {
        if self.schema != SCHEMA {
            return Err(ManifestError::Schema { found: self.schema.clone() });
        }
        let outside = |field, value: String| Err(ManifestError::OutOfBounds { field, value });
        if !is_name(&self.name) {
            return outside("name", self.name.clone());
        }
        if !is_version(&self.version) {
            return outside("version", self.version.clone());
        }
        if self.files.len() > FILES_MAX {
            return outside("files", self.files.len().to_string());
        }
        let mut listed = BTreeSet::new();
        for file in &self.files {
            if !is_inside(&file.path) || file.path == FILE_NAME {
                return Err(ManifestError::PathOutside { path: file.path.clone() });
            }
            if file.sha256.len() != 64 || !file.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            {
                return outside("files.sha256", file.sha256.clone());
            }
            if !listed.insert(file.path.as_str()) {
                return outside("files.path", file.path.clone());
            }
        }
        for path in self.used_files() {
            if !listed.contains(path) {
                return Err(ManifestError::NotListed { path: path.to_owned() });
            }
        }
        self.segmentation.check()?;
        self.embedding.check()?;
        self.clustering.check()?;
        self.voices.check()?;
        match (&self.clustering, &self.embedding.kind) {
            (Clustering::Spectral(_), EmbeddingKind::Windowed { .. })
            | (Clustering::Vbx(_) | Clustering::Ahc(_), EmbeddingKind::FrameLevel { .. }) => Ok(()),
            (clustering, kind) => {
                Err(ManifestError::Combination { clustering: clustering.method(), embedding: kind.name() })
            }
        }
    }

    /// The files that hold networks.
    #[must_use]
    pub fn network_files(&self) -> Vec<&str> {
        let mut used = vec![self.segmentation.file.as_str()];
        match &self.embedding.kind {
            EmbeddingKind::Windowed { file, .. } => used.push(file),
            EmbeddingKind::FrameLevel { trunk_file, head_file, .. } => {
                used.extend([trunk_file.as_str(), head_file])
            }
        }
        used
    }

    /// SHA-256, lower-case hex, of everything that makes an embedding what it is: the settings and the digests of the
    /// networks. Versions of a bundle that differ elsewhere have the same.
    #[must_use]
    pub fn embedding_sha256(&self) -> String {
        let settings = serde_json::to_string(&self.embedding).expect("strings and finite numbers");
        let networks = self.network_files();
        let digests: Vec<&str> = self
            .files
            .iter()
            .filter(|file| file.path != self.segmentation.file && networks.contains(&file.path.as_str()))
            .map(|file| file.sha256.as_str())
            .collect();
        ContentDigest::of(format!("{settings}\n{}", digests.join("\n")).as_bytes()).to_string()
    }

    /// The files that the engine opens.
    fn used_files(&self) -> Vec<&str> {
        let mut used = self.network_files();
        if let Clustering::Vbx(vbx) = &self.clustering {
            used.push(&vbx.plda_file);
        }
        used
    }
}

/// Whether `name` may name a bundle.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
}

/// Whether `version` may be a bundle's version.
#[must_use]
pub fn is_version(version: &str) -> bool {
    (1..=64).contains(&version.len())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !version.starts_with('.')
}

/// Whether a relative path stays inside the folder it is joined to, on every platform.
#[must_use]
pub fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 512
        && !path.contains(['\\', '\0', ':'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        && !path.ends_with('/')
        && !path.contains("//")
}
