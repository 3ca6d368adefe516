//! How a bundle finds the speakers of a recording.

use serde::{Deserialize, Serialize};

use super::ManifestError;

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

/// Parameters of [`Clustering::Vbx`]: PLDA, AHC for a first partition, then variational Bayes
/// (`worker::diarize::cluster::vbx`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VbxParameters {
    /// File of PLDA arrays (`safetensors`: `mean1`, `mean2`, `lda`, `mu`, `tr`, `psi`, f64).
    pub plda_file: String,
    /// Largest merge height of the first partition, a distance of unit-length vectors.
    pub threshold: f64,
    /// Weight of the acoustic evidence.
    pub fa: f64,
    /// Weight of the speaker prior.
    pub fb: f64,
    /// How sure the first partition is: responsibilities start as the softmax of this times membership.
    pub smoothing: f64,
    /// Most variational iterations.
    pub iterations_max: u32,
    /// The iterations end when the evidence bound rises by less than this.
    pub gain_min: f64,
    /// Speakers whose prior ends at or below this are dropped.
    pub prior_min: f64,
    /// Share of a chunk that a local speaker has to speak alone to train the clustering.
    pub clean_share_min: f64,
    /// Starts of k-means where another number of speakers is asked for.
    pub kmeans_starts: u32,
    /// Most embeddings that are clustered exactly; of more, the most similar are joined into at most this many groups first.
    pub exact_max: u32,
}

/// Parameters of [`Clustering::Ahc`] (`worker::diarize::cluster::ahc`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AhcParameters {
    /// Largest merge height, a distance of unit-length vectors.
    pub threshold: f64,
    /// A cluster with fewer members is joined to the nearest large one.
    pub min_cluster_size: u32,
    /// Share of a chunk that a local speaker has to speak alone to train the clustering.
    pub clean_share_min: f64,
    /// Most embeddings that are clustered exactly; of more, the most similar are joined into at most this many groups first.
    pub exact_max: u32,
}

impl Clustering {
    /// Its `method` in the manifest.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Spectral(_) => "spectral",
            Self::Vbx(_) => "vbx",
            Self::Ahc(_) => "ahc",
        }
    }

    pub(super) fn check(&self) -> Result<(), ManifestError> {
        match self {
            Self::Spectral(parameters) => parameters.check(),
            Self::Vbx(parameters) => parameters.check(),
            Self::Ahc(parameters) => parameters.check(),
        }
    }
}

/// Refuses a value outside `low..=high`; NaN is outside.
pub(super) fn within(field: &'static str, value: f64, low: f64, high: f64) -> Result<(), ManifestError> {
    if value >= low && value <= high {
        Ok(())
    } else {
        Err(ManifestError::OutOfBounds { field, value: value.to_string() })
    }
}

/// Embeddings that exact clustering may be asked for: their distances take 4 bytes times the square.
const EXACT_MAX: f64 = 10_000.0;

impl VbxParameters {
    fn check(&self) -> Result<(), ManifestError> {
        within("clustering.threshold", self.threshold, 0.0, 2.0)?;
        within("clustering.fa", self.fa, 1e-6, 1e3)?;
        within("clustering.fb", self.fb, 1e-6, 1e3)?;
        within("clustering.smoothing", self.smoothing, 0.0, 100.0)?;
        within("clustering.iterations_max", self.iterations_max.into(), 1.0, 1000.0)?;
        within("clustering.gain_min", self.gain_min, 0.0, 1e6)?;
        within("clustering.prior_min", self.prior_min, 0.0, 0.5)?;
        within("clustering.clean_share_min", self.clean_share_min, 0.0, 1.0)?;
        within("clustering.kmeans_starts", self.kmeans_starts.into(), 1.0, 1000.0)?;
        within("clustering.exact_max", self.exact_max.into(), 64.0, EXACT_MAX)
    }
}

impl AhcParameters {
    fn check(&self) -> Result<(), ManifestError> {
        within("clustering.threshold", self.threshold, 0.0, 2.0)?;
        within("clustering.min_cluster_size", self.min_cluster_size.into(), 1.0, 1e6)?;
        within("clustering.clean_share_min", self.clean_share_min, 0.0, 1.0)?;
        within("clustering.exact_max", self.exact_max.into(), 64.0, EXACT_MAX)
    }
}

impl SpectralParameters {
    fn check(&self) -> Result<(), ManifestError> {
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
