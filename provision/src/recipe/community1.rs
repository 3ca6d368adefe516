//! The community-1 bundle: pyannote's speaker-diarization-community-1, from the files of its repository.
//!
//! The repository is open to those who accept its conditions, so an operator brings the files: a folder with them, or a
//! hub cache. The version names what the bundle was made from, by digest.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use common::model::manifest::{
    AhcParameters, Clustering, Embedding, EmbeddingKind, Feature, Manifest, RecordingSpan, SCHEMA,
    Segmentation, Tail, Taper, TrunkSpan, VbxParameters, VoiceParameters,
};

use super::{SourceFile, described};
use crate::checkpoint::{CheckpointError, Limits, StateDict};
use crate::digest;
use crate::graph::{GraphError, resnet34, segmentation};
use crate::npz::{self, Array, NpzError};
use crate::progress::Progress;
use crate::safetensors;

/// Name of the bundle.
pub const NAME: &str = "community-1";
/// First part of its version, raised with every change of how it is made.
const RECIPE_VERSION: &str = "1.1.0";
/// Where the files come from.
const REPOSITORY: &str = "pyannote/speaker-diarization-community-1";
/// The repository's folder in a hub cache.
const CACHE_FOLDER: &str = "models--pyannote--speaker-diarization-community-1";

const SEGMENTATION: &str = "segmentation/pytorch_model.bin";
const EMBEDDING: &str = "embedding/pytorch_model.bin";
const TRANSFORM: &str = "plda/xvec_transform.npz";
const PLDA: &str = "plda/plda.npz";
/// What is read of the repository.
const MEMBERS: [&str; 4] = [SEGMENTATION, EMBEDDING, TRANSFORM, PLDA];
/// Largest of them that is read, bytes; the largest has 27 MB.
const MEMBER_BYTES_MAX: u64 = 256 << 20;

/// Length of a PLDA feature.
const PROJECTED: usize = 128;
const NOTICE: &str = include_str!("community1-notice.txt");

/// Why the files do not give a bundle.
#[derive(Debug, thiserror::Error)]
pub enum Community1Error {
    /// The folder does not hold the repository.
    #[error("there is no `{member}` in `{}`", folder.display())]
    Missing {
        /// What was looked for.
        member: &'static str,
        /// Where.
        folder: PathBuf,
    },
    /// A file cannot be read, or is too large.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A checkpoint that is none.
    #[error("checkpoint `{member}` cannot be read")]
    Checkpoint {
        /// Which.
        member: &'static str,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// A checkpoint of another network.
    #[error("checkpoint `{member}` cannot be converted")]
    Network {
        /// Which.
        member: &'static str,
        /// Why.
        #[source]
        source: GraphError,
    },
    /// A file of arrays that is none.
    #[error("the arrays of `{member}` cannot be read")]
    Arrays {
        /// Which.
        member: &'static str,
        /// Why.
        #[source]
        source: NpzError,
    },
    /// An array that a PLDA needs is missing, or of another shape.
    #[error("array `{array}` of the PLDA has shape {found:?}, not {wanted:?}")]
    Shape {
        /// Which.
        array: &'static str,
        /// Its shape; empty when there is none.
        found: Vec<usize>,
        /// What it should have.
        wanted: Vec<usize>,
    },
}

/// What is chosen when the bundle is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Whether the trunk runs over the recording once, features centred over a sliding span, instead of over each chunk.
    pub sliding: bool,
    /// Whether speakers are found as in pyannote's 3.1 instead of as in community-1.
    pub linkage: bool,
}

impl Variant {
    /// Community-1 itself.
    pub const EXACT: Self = Self { sliding: false, linkage: false };
}

/// The repository's files, read.
#[derive(Debug)]
pub struct Repository {
    members: [Vec<u8>; MEMBERS.len()],
}

impl Repository {
    /// Reads the files below `folder`: the repository itself, its folder in a hub cache, or a hub cache.
    ///
    /// # Errors
    /// [`Community1Error::Missing`] and [`Community1Error::Unreadable`].
    pub fn read(folder: &Path) -> Result<Self, Community1Error> {
        let root = locate(folder)?;
        let mut members = [const { Vec::new() }; MEMBERS.len()];
        for (member, content) in MEMBERS.into_iter().zip(&mut members) {
            let path = root.join(member);
            *content = read_bounded(&path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => Community1Error::Missing { member, folder: root.clone() },
                _ => Community1Error::Unreadable { path, source },
            })?;
        }
        Ok(Self { members })
    }

    fn member(&self, wanted: &str) -> &[u8] {
        let index = MEMBERS.iter().position(|member| *member == wanted);
        index.map_or(&[], |index| &self.members[index])
    }

    /// Version of the bundle that these files give.
    #[must_use]
    pub fn version(&self, variant: &Variant) -> String {
        let digests: String = self.members.iter().map(|content| digest::of(content)).collect();
        let sliding = if variant.sliding { "-sliding" } else { "" };
        let linkage = if variant.linkage { "-ahc" } else { "" };
        format!("{RECIPE_VERSION}{sliding}{linkage}-{}", &digest::of(digests.as_bytes())[..12])
    }

    /// Makes the bundle's files and its manifest, the self-test still missing.
    ///
    /// # Errors
    /// Any [`Community1Error`].
    pub fn convert(
        &self,
        variant: &Variant,
        progress: &dyn Progress,
    ) -> Result<(Vec<SourceFile>, Manifest), Community1Error> {
        let weights = |member: &'static str| {
            StateDict::read(self.member(member), &Limits::default())
                .map_err(|source| Community1Error::Checkpoint { member, source })
        };
        let network = |member| move |source| Community1Error::Network { member, source };
        progress.step("converting the segmentation network to ONNX");
        let segmentation = segmentation::encode(&weights(SEGMENTATION)?).map_err(network(SEGMENTATION))?;
        progress.step("converting the embedding network to ONNX");
        let resnet = weights(EMBEDDING)?;
        let trunk = resnet34::encode_trunk(&resnet, REPOSITORY).map_err(network(EMBEDDING))?;
        let head = resnet34::encode_head(&resnet, REPOSITORY).map_err(network(EMBEDDING))?;
        let plda = self.plda()?;
        let resnet34 = "WeSpeaker ResNet34-LM trained on VoxCeleb; Wang et al.; distributed by pyannoteAI";
        let file = |path, content, attribution, member: &str| SourceFile {
            path,
            content,
            licence: "CC-BY-4.0",
            attribution,
            source: format!("{REPOSITORY}: {member}"),
        };
        let files = vec![
            file(
                "segmentation.onnx",
                segmentation,
                "pyannote segmentation, Copyright (c) CNRS and pyannoteAI",
                SEGMENTATION,
            ),
            file("resnet34-trunk.onnx", trunk, resnet34, EMBEDDING),
            file("resnet34-head.onnx", head, resnet34, EMBEDDING),
            file("plda.safetensors", plda, "PLDA by BUT Speech@FIT, Brno University of Technology", PLDA),
            file("NOTICE.txt", NOTICE.into(), "who is to be named", "config.yaml"),
        ];
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            name: NAME.to_owned(),
            version: self.version(variant),
            files: described(&files),
            segmentation: segmentation_geometry(),
            embedding: embedding_geometry(if variant.sliding { sliding() } else { TrunkSpan::Chunk }),
            clustering: if variant.linkage { Clustering::Ahc(ahc()) } else { Clustering::Vbx(vbx()) },
            voices: unmeasured_voices(progress),
            selftest: None,
        };
        Ok((files, manifest))
    }

    /// Both files of arrays as one.
    fn plda(&self) -> Result<Vec<u8>, Community1Error> {
        let read = |member: &'static str| {
            npz::arrays(self.member(member)).map_err(|source| Community1Error::Arrays { member, source })
        };
        let (mut transform, mut plda) = (read(TRANSFORM)?, read(PLDA)?);
        let dimension = resnet34::DIMENSION;
        let shaped = |array: &'static str, found: Option<Array>, wanted: &[usize]| {
            let found = found.unwrap_or(Array { shape: Vec::new(), values: Vec::new() });
            if found.shape == wanted {
                Ok(found)
            } else {
                Err(Community1Error::Shape { array, found: found.shape, wanted: wanted.to_vec() })
            }
        };
        let arrays = [
            ("mean1", shaped("mean1", transform.remove("mean1"), &[dimension])?),
            ("mean2", shaped("mean2", transform.remove("mean2"), &[PROJECTED])?),
            ("lda", shaped("lda", transform.remove("lda"), &[dimension, PROJECTED])?),
            ("mu", shaped("mu", plda.remove("mu"), &[PROJECTED])?),
            ("tr", shaped("tr", plda.remove("tr"), &[PROJECTED, PROJECTED])?),
            ("psi", shaped("psi", plda.remove("psi"), &[PROJECTED])?),
        ];
        let arrays: Vec<(&str, &[usize], &[f64])> =
            arrays.iter().map(|(name, array)| (*name, &array.shape[..], &array.values[..])).collect();
        Ok(safetensors::encode(&arrays))
    }
}

/// When a speaker is a known voice. Nobody has measured it for ResNet34: these are the cosines of the starter bundle's CAM++, and
/// whoever builds the bundle is told so.
fn unmeasured_voices(progress: &dyn Progress) -> VoiceParameters {
    let voices = VoiceParameters::default();
    progress.step(&format!(
        "known voices: a cosine of {} was measured with another network (CAM++), none with this one; check names before you rely on them",
        voices.cosine_min
    ));
    voices
}

/// Where the repository's files lie below `folder`.
fn locate(folder: &Path) -> Result<PathBuf, Community1Error> {
    let caches = [folder.to_owned(), folder.join(CACHE_FOLDER), folder.join("hub").join(CACHE_FOLDER)];
    let snapshots = caches.iter().filter_map(|cache| snapshot(cache));
    let candidates = std::iter::once(folder.to_owned()).chain(snapshots);
    candidates
        .into_iter()
        .find(|root| root.join(SEGMENTATION).is_file())
        .ok_or_else(|| Community1Error::Missing { member: SEGMENTATION, folder: folder.to_owned() })
}

/// The snapshot of a repository's folder in a hub cache that `refs/main` names, else the only one there is.
fn snapshot(cache: &Path) -> Option<PathBuf> {
    let snapshots = cache.join("snapshots");
    let mut revision = String::new();
    let main = File::open(cache.join("refs/main")).and_then(|f| f.take(64).read_to_string(&mut revision));
    let revision = revision.trim();
    if main.is_ok() && !revision.is_empty() && revision.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Some(snapshots.join(revision));
    }
    let mut entries = fs::read_dir(&snapshots).ok()?.flatten();
    let first = entries.next()?.path();
    entries.next().is_none().then_some(first)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MEMBER_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MEMBER_BYTES_MAX {
        let what = format!("larger than {MEMBER_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(content)
}

/// The trunk over the recording once: features centred over 10 s, as long as a chunk, in blocks of 30 s.
#[must_use]
pub fn sliding() -> TrunkSpan {
    TrunkSpan::Recording(RecordingSpan { mean_frames: 1_000, block_frames: 3_000 })
}

/// Chunks of 10 s every second, the last one filled up with zeros; otherwise as segmentation-3.0.
#[must_use]
pub fn segmentation_geometry() -> Segmentation {
    Segmentation {
        file: "segmentation.onnx".to_owned(),
        sample_rate_hz: 16_000,
        window_samples: 160_000,
        step_samples: 16_000,
        frames: 589,
        frame_step_samples: 270,
        receptive_field_samples: 991,
        local_speakers: 3,
        simultaneous_speakers: 2,
        tail: Tail::ZeroPadded,
    }
}

/// ResNet34 over the features it was trained with.
#[must_use]
pub fn embedding_geometry(span: TrunkSpan) -> Embedding {
    Embedding {
        dimension: resnet34::DIMENSION as u32,
        feature: Some(Feature {
            mel_bins: 80,
            frame_samples: 400,
            frame_step_samples: 160,
            sample_scale: 32_768.0,
            taper: Taper::Hamming,
            low_hz: 20.0,
            high_hz: 8_000.0,
        }),
        kind: EmbeddingKind::FrameLevel {
            trunk_file: "resnet34-trunk.onnx".to_owned(),
            head_file: "resnet34-head.onnx".to_owned(),
            trunk_channels: resnet34::TRUNK_CHANNELS as u32,
            // 998 feature frames, halved three times.
            trunk_steps: 125,
            step_frames: 8,
            // The reach of 33 convolutions of three taps at strides 1, 2, 4 and 8.
            context_frames: 112,
            // More than the two frames that the shortest input of the reference covers.
            clean_frames_min: 3,
            span,
        },
    }
}

/// The repository's `config.yaml`, and what its code fixes.
#[must_use]
pub fn vbx() -> VbxParameters {
    VbxParameters {
        plda_file: "plda.safetensors".to_owned(),
        threshold: 0.6,
        fa: 0.07,
        fb: 0.8,
        smoothing: 7.0,
        iterations_max: 20,
        gain_min: 1e-4,
        prior_min: 1e-7,
        clean_share_min: 0.2,
        kmeans_starts: 3,
        exact_max: EXACT_MAX,
    }
}

/// The clustering of pyannote's 3.1, for the same networks.
#[must_use]
pub fn ahc() -> AhcParameters {
    AhcParameters {
        threshold: 0.704_565_496_394_579_9,
        min_cluster_size: 12,
        clean_share_min: 0.2,
        exact_max: EXACT_MAX,
    }
}

/// An hour in which one person always speaks gives 3,600 embeddings.
const EXACT_MAX: u32 = 4_000;
