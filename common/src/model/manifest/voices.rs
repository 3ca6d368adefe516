//! When a speaker of a recording is a known voice.

use serde::{Deserialize, Serialize};

use super::ManifestError;
use super::clustering::within;

/// Cosines of a bundle's embeddings that tell voices apart. Manifests from before there were known voices have the
/// defaults, which were measured with the starter bundle. A bundle with other networks should say its own; community-1 does not
/// yet, because nothing was measured with its network, and `build` says so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceParameters {
    /// A speaker is a known voice from this cosine of his centroid to it. Source: `tests/RESULTS.md`, known voices.
    pub cosine_min: f64,
    /// One window may be a known voice from this cosine. Windows are short, so it lies lower; a second condition only.
    pub window_cosine_min: f64,
}

impl Default for VoiceParameters {
    fn default() -> Self {
        Self { cosine_min: 0.8, window_cosine_min: 0.4 }
    }
}

impl VoiceParameters {
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        within("voices.cosine_min", self.cosine_min, 0.0, 1.0)?;
        within("voices.window_cosine_min", self.window_cosine_min, -1.0, 1.0)
    }
}
