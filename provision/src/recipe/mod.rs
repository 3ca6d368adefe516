//! How each bundle is made: bytes of a published package, or of an operator's files, in; files and a manifest out,
//! nothing else.

pub mod community1;
pub mod starter;

use common::model::manifest::{
    BundleFile, Clustering, Embedding, Manifest, SCHEMA, Segmentation, VoiceParameters,
};

use crate::archive::ArchiveError;
use crate::checkpoint::CheckpointError;
use crate::digest;
use crate::graph::GraphError;
use crate::progress::Progress;
use crate::wheel::Pin;

/// How one bundle is made. The same recipe gives the same bytes on every machine.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the bundle.
    pub name: &'static str,
    /// Its version; raised with every change of what is made.
    pub version: &'static str,
    /// The wheel it is made from.
    pub pin: Pin,
    /// Makes the ingredients from the wheel's bytes.
    pub make: fn(&[u8], &dyn Progress) -> Result<Ingredients, RecipeError>,
}

/// Everything that goes into a bundle but the self-test.
#[derive(Debug, Clone)]
pub struct Ingredients {
    /// The files.
    pub files: Vec<IngredientFile>,
    /// See [`Manifest::segmentation`].
    pub segmentation: Segmentation,
    /// See [`Manifest::embedding`].
    pub embedding: Embedding,
    /// See [`Manifest::clustering`].
    pub clustering: Clustering,
    /// See [`Manifest::voices`].
    pub voices: VoiceParameters,
}

/// One file of a bundle, with what its manifest says of it.
#[derive(Debug, Clone)]
pub struct IngredientFile {
    /// Path inside the bundle.
    pub path: &'static str,
    /// Content.
    pub content: Vec<u8>,
    /// SPDX licence expression.
    pub licence: &'static str,
    /// Who is to be named.
    pub attribution: &'static str,
    /// The member of the wheel that it was made from.
    pub member: &'static str,
}

/// One file of a bundle that was not made from a wheel.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Path inside the bundle.
    pub path: &'static str,
    /// Content.
    pub content: Vec<u8>,
    /// SPDX licence expression.
    pub licence: &'static str,
    /// Who is to be named.
    pub attribution: &'static str,
    /// What it was made from.
    pub source: String,
}

/// What a manifest says of files, sorted by path.
#[must_use]
pub fn described(files: &[SourceFile]) -> Vec<BundleFile> {
    let mut files: Vec<BundleFile> = files
        .iter()
        .map(|file| BundleFile {
            path: file.path.to_owned(),
            sha256: digest::of(&file.content),
            bytes: file.content.len() as u64,
            licence: file.licence.to_owned(),
            attribution: file.attribution.to_owned(),
            source: file.source.clone(),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Why a wheel does not give a bundle: it is not the wheel that the recipe was written for.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The wheel, or a member of it.
    #[error("the wheel cannot be unpacked")]
    Wheel(#[from] ArchiveError),
    /// A checkpoint in it.
    #[error("checkpoint `{member}` cannot be read")]
    Checkpoint {
        /// Which one.
        member: &'static str,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// The network that should come out of a checkpoint.
    #[error("checkpoint `{member}` cannot be converted")]
    Network {
        /// Which one.
        member: &'static str,
        /// Why.
        #[source]
        source: GraphError,
    },
}

impl Recipe {
    /// The recipe of a bundle; `None` when there is none of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        (name == starter::NAME).then(starter::recipe)
    }

    /// The manifest of what was made, its self-test still missing.
    #[must_use]
    pub fn manifest(&self, made: &Ingredients) -> Manifest {
        let source = |member: &str| format!("{} {}: {member}", self.pin.package, self.pin.version);
        let mut files: Vec<BundleFile> = made
            .files
            .iter()
            .map(|file| BundleFile {
                path: file.path.to_owned(),
                sha256: digest::of(&file.content),
                bytes: file.content.len() as u64,
                licence: file.licence.to_owned(),
                attribution: file.attribution.to_owned(),
                source: source(file.member),
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Manifest {
            schema: SCHEMA.to_owned(),
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            files,
            segmentation: made.segmentation.clone(),
            embedding: made.embedding.clone(),
            clustering: made.clustering.clone(),
            voices: made.voices,
            selftest: None,
        }
    }
}
