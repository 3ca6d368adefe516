//! `manifest.json`: everything the engine knows about a bundle's networks.
//!
//! The engine takes every model-specific number from here; none is spelled in the code that uses it. Unknown keys are
//! errors, so that a manifest from a newer Rollcall fails loudly instead of being half understood.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

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

/// A powerset segmentation network over fixed windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segmentation {
    /// ONNX file: `[batch, 1, samples]` waveform → `[batch, frames, classes]` log-probabilities.
    pub file: String,
    /// Sample rate of its input, Hz.
    pub sample_rate_hz: u32,
    /// Samples in one chunk.
    pub window_samples: u32,
    /// Samples between the starts of two chunks.
    pub step_samples: u32,
    /// Activity frames that a full window gives.
    pub frames: u32,
    /// Samples between two activity frames.
    pub frame_step_samples: u32,
    /// Samples that one activity frame sees; frame `i` is centred on `i * frame_step + receptive_field / 2`.
    pub receptive_field_samples: u32,
    /// Local speakers the network tells apart in a chunk.
    pub local_speakers: u32,
    /// How many of them may be active at once (size of the largest powerset class).
    pub simultaneous_speakers: u32,
}

/// A speaker-embedding network and the features it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Length of one embedding.
    pub dimension: u32,
    /// The log-mel features of its input.
    pub feature: Feature,
    /// How the network is run.
    pub kind: EmbeddingKind,
}

/// Kaldi log-mel filter banks: 25 ms frames every 10 ms, whole frames only, pre-emphasis 0.97, no dither.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Mel bins.
    pub mel_bins: u32,
    /// Samples of one feature frame.
    pub frame_samples: u32,
    /// Samples between two feature frames.
    pub frame_step_samples: u32,
    /// Factor applied to samples in [-1, 1] before anything else.
    pub sample_scale: f32,
    /// Taper of a frame.
    pub taper: Taper,
    /// Lowest and highest edge of the mel triangles, Hz.
    pub low_hz: f32,
    /// See `low_hz`.
    pub high_hz: f32,
}

/// The weighting of samples inside one feature frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taper {
    /// Kaldi's `(0.5 - 0.5 cos)^0.85`.
    Povey,
    /// `0.54 - 0.46 cos`.
    Hamming,
}

/// What the embedding network sees at a time. In both kinds the mean of each mel bin over that span is subtracted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbeddingKind {
    /// Fixed windows of the recording, one embedding each: for networks with global context (CAM++, TitaNet).
    Windowed {
        /// ONNX file: `[batch, feature frames, mel bins]` → `[batch, dimension]`.
        file: String,
        /// Samples of one window.
        window_samples: u32,
        /// Samples between the starts of two windows; a multiple of the feature frame step.
        hop_samples: u32,
    },
    /// A frame-level trunk run once per chunk, then masked statistics pooling for each local speaker.
    Trunk {
        /// ONNX file: `[batch, feature frames, mel bins]` → `[batch, channels, steps]`.
        trunk_file: String,
        /// ONNX file: `[batch, channels, steps]`, `[batch, speakers, steps]` → `[batch, speakers, dimension]`.
        head_file: String,
        /// Channels of the trunk's output.
        trunk_channels: u32,
        /// Steps of the trunk's output for one full chunk.
        trunk_steps: u32,
    },
}

/// How local speakers become speakers of the recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum Clustering {
    /// Spectral clustering of clean windows, for windowed embeddings.
    Spectral(SpectralParameters),
    /// PLDA and variational Bayes, as pyannote's community-1.
    Vbx(VbxParameters),
    /// Agglomerative clustering with centroid linkage, as pyannote's 3.1.
    Ahc(AhcParameters),
}

/// Parameters of [`Clustering::Spectral`]; the algorithm is `worker::diarize::cluster`, where each is explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectralParameters {
    /// A window is clean when at least this share of its frames is one local speaker alone.
    pub clean_share_min: f64,
    /// A window speaks for a local speaker when at least this share of its frames is that speaker alone.
    pub local_share_min: f64,
    /// Seconds that two local speakers of one chunk have to speak alone to show how different voices sound here.
    pub local_clean_s_min: f64,
    /// Recordings up to this length have their windows on the denser grid.
    pub short_s: f64,
    /// Samples between windows of such recordings.
    pub short_hop_samples: u32,
    /// Recordings up to this length get every window of the grid; longer ones every second, and those between only where
    /// their neighbours disagree.
    pub fine_s: f64,
    /// Cosine from which two neighbours agree.
    pub agreement_cosine: f64,
    /// With at least this many seconds of clean windows the spectral method runs, else the linkage.
    pub spectral_clean_s_min: f64,
    /// The threshold of the linkage.
    pub linkage: LinkageParameters,
    /// Share of all windows that each window keeps as neighbours.
    pub neighbours_share: f64,
    /// But never fewer than this many seconds of windows.
    pub neighbours_s_min: f64,
    /// Most speakers that are found unless more are asked for.
    pub speakers_max: u32,
    /// Clusters with less than this many seconds of windows are dissolved.
    pub small_s: f64,
    /// Clusters whose centroids have at least this cosine are joined.
    pub merge_cosine: f64,
    /// Most windows that are clustered exactly; of more, an even subsample is, and every window goes to a centroid.
    pub windows_max: u32,
    /// Starts of k-means.
    pub kmeans_starts: u32,
    /// Seconds of overlapped speech from which a recording with one voice has a second speaker.
    pub second_speaker_s_min: f64,
    /// Weight of the voice against the chunks' votes in each frame.
    pub cosine_weight: f32,
}

/// How the linkage finds the cosine at which two clusters of windows are one voice: between what the recording shows of equal and
/// of different voices, each steadied by a prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkageParameters {
    /// A window counts as inside a local speaker from this share of frames alone.
    pub inside_share_min: f64,
    /// Expected cosine of windows of one voice.
    pub inside_prior: f64,
    /// How many observations that expectation weighs.
    pub inside_count: f64,
    /// Expected cosine of different voices.
    pub outside_prior: f64,
    /// How many observations that expectation weighs.
    pub outside_count: f64,
    /// Where the threshold lies: 0 at the level of different voices, 1 at that of one voice.
    pub balance: f64,
    /// Clusters with less than this many seconds of windows are dropped, unless all are that small.
    pub small_s: f64,
}

/// Parameters of [`Clustering::Vbx`] (`pipelines`: PLDA, AHC initialisation, VBx).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VbxParameters {
    /// File of PLDA arrays (`safetensors`: `mean1`, `mean2`, `lda`, `mu`, `tr`, `psi`, f64).
    pub plda_file: String,
    /// Largest merge height of the initial partition.
    pub threshold: f64,
    /// Weight of the acoustic evidence.
    pub fa: f64,
    /// Weight of the speaker prior.
    pub fb: f64,
    /// Most variational iterations.
    pub iterations_max: u32,
    /// Share of a chunk that a local speaker has to speak alone to train the clustering.
    pub clean_share_min: f64,
}

/// Parameters of [`Clustering::Ahc`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AhcParameters {
    /// Largest merge height.
    pub threshold: f64,
    /// A cluster with fewer members is joined to the nearest large one.
    pub min_cluster_size: u32,
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
        match &self.clustering {
            Clustering::Spectral(spectral) => spectral.check(),
            Clustering::Vbx(_) | Clustering::Ahc(_) => Ok(()),
        }
    }

    /// The files that the engine opens.
    fn used_files(&self) -> Vec<&str> {
        let mut used = vec![self.segmentation.file.as_str()];
        match &self.embedding.kind {
            EmbeddingKind::Windowed { file, .. } => used.push(file),
            EmbeddingKind::Trunk { trunk_file, head_file, .. } => {
                used.extend([trunk_file.as_str(), head_file])
            }
        }
        if let Clustering::Vbx(vbx) = &self.clustering {
            used.push(&vbx.plda_file);
        }
        used
    }
}

impl Segmentation {
    fn check(&self) -> Result<(), ManifestError> {
        let bound = |ok: bool, field, value: u32| {
            if ok { Ok(()) } else { Err(ManifestError::OutOfBounds { field, value: value.to_string() }) }
        };
        bound(self.sample_rate_hz == 16_000, "segmentation.sample_rate_hz", self.sample_rate_hz)?;
        bound(
            (16_000..=960_000).contains(&self.window_samples),
            "segmentation.window_samples",
            self.window_samples,
        )?;
        bound(
            (1_600..=self.window_samples).contains(&self.step_samples),
            "segmentation.step_samples",
            self.step_samples,
        )?;
        bound((1..=65_536).contains(&self.frames), "segmentation.frames", self.frames)?;
        bound(
            (16..=16_000).contains(&self.frame_step_samples),
            "segmentation.frame_step_samples",
            self.frame_step_samples,
        )?;
        bound(
            self.receptive_field_samples <= self.window_samples,
            "segmentation.receptive_field_samples",
            self.receptive_field_samples,
        )?;
        bound((1..=8).contains(&self.local_speakers), "segmentation.local_speakers", self.local_speakers)?;
        bound(
            (1..=self.local_speakers).contains(&self.simultaneous_speakers),
            "segmentation.simultaneous_speakers",
            self.simultaneous_speakers,
        )
    }
}

impl Embedding {
    fn check(&self) -> Result<(), ManifestError> {
        let outside = |field, value: String| Err(ManifestError::OutOfBounds { field, value });
        if !(1..=4096).contains(&self.dimension) {
            return outside("embedding.dimension", self.dimension.to_string());
        }
        let f = &self.feature;
        if !(1..=512).contains(&f.mel_bins) {
            return outside("embedding.feature.mel_bins", f.mel_bins.to_string());
        }
        if !(16..=4096).contains(&f.frame_samples) || !(16..=f.frame_samples).contains(&f.frame_step_samples)
        {
            return outside("embedding.feature.frame_samples", f.frame_samples.to_string());
        }
        if !(f.sample_scale.is_finite() && f.sample_scale > 0.0) {
            return outside("embedding.feature.sample_scale", f.sample_scale.to_string());
        }
        if !(f.low_hz >= 0.0 && f.high_hz > f.low_hz && f.high_hz <= 8_000.0) {
            return outside("embedding.feature.high_hz", f.high_hz.to_string());
        }
        if let EmbeddingKind::Windowed { window_samples, hop_samples, .. } = &self.kind {
            if !(f.frame_samples..=960_000).contains(window_samples) {
                return outside("embedding.kind.window_samples", window_samples.to_string());
            }
            if *hop_samples == 0 || hop_samples > window_samples || hop_samples % f.frame_step_samples != 0 {
                return outside("embedding.kind.hop_samples", hop_samples.to_string());
            }
        }
        Ok(())
    }
}

impl SpectralParameters {
    fn check(&self) -> Result<(), ManifestError> {
        let within = |field, value: f64, low: f64, high: f64| {
            // Written so that NaN is refused.
            if value >= low && value <= high {
                Ok(())
            } else {
                Err(ManifestError::OutOfBounds { field, value: value.to_string() })
            }
        };
        within("clustering.clean_share_min", self.clean_share_min, 0.0, 1.0)?;
        within("clustering.local_share_min", self.local_share_min, 0.0, 1.0)?;
        within("clustering.local_clean_s_min", self.local_clean_s_min, 0.0, 60.0)?;
        within("clustering.short_s", self.short_s, 0.0, 600.0)?;
        within("clustering.short_hop_samples", self.short_hop_samples.into(), 160.0, 960_000.0)?;
        within("clustering.fine_s", self.fine_s, self.short_s, 3600.0)?;
        within("clustering.agreement_cosine", self.agreement_cosine, -1.0, 1.0)?;
        within("clustering.spectral_clean_s_min", self.spectral_clean_s_min, 0.0, 3600.0)?;
        within("clustering.linkage.balance", self.linkage.balance, 0.0, 1.0)?;
        within("clustering.linkage.small_s", self.linkage.small_s, 0.0, 600.0)?;
        within("clustering.linkage.inside_count", self.linkage.inside_count, 1.0, 1e6)?;
        within("clustering.linkage.outside_count", self.linkage.outside_count, 1.0, 1e6)?;
        within("clustering.neighbours_share", self.neighbours_share, 0.0, 1.0)?;
        within("clustering.neighbours_s_min", self.neighbours_s_min, 0.0, 600.0)?;
        within("clustering.speakers_max", self.speakers_max.into(), 1.0, 64.0)?;
        within("clustering.small_s", self.small_s, 0.0, 600.0)?;
        within("clustering.merge_cosine", self.merge_cosine, -1.0, 2.0)?;
        within("clustering.windows_max", self.windows_max.into(), 16.0, 20_000.0)?;
        within("clustering.kmeans_starts", self.kmeans_starts.into(), 1.0, 1000.0)?;
        within("clustering.second_speaker_s_min", self.second_speaker_s_min, 0.0, 1e6)?;
        within("clustering.cosine_weight", self.cosine_weight.into(), 0.0, 1e3)
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
