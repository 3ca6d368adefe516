//! The networks of a bundle: what they read, and what they give.

use serde::{Deserialize, Serialize};

use super::ManifestError;

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
    /// How the network gets a last chunk that the recording does not fill.
    #[serde(default, skip_serializing_if = "Tail::is_default")]
    pub tail: Tail,
}

/// What is done about a last chunk that the recording does not fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// It goes in at its true length: zeros would shift a network that normalises over its input.
    #[default]
    TrueLength,
    /// It is filled up with zeros, as pyannote's pipelines do.
    ZeroPadded,
}

impl Tail {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A speaker-embedding network and the features it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Length of one embedding.
    pub dimension: u32,
    /// The log-mel features of its input; absent only for a network that reads samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<Feature>,
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

/// What the embedding network sees at a time. The mean of each mel bin over that span is subtracted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbeddingKind {
    /// Fixed windows of the recording, one embedding each: for networks with global context (CAM++, TitaNet).
    Windowed {
        /// ONNX file: `[batch, feature frames, mel bins]` → `[batch, dimension]`.
        file: String,
        /// Samples of one window.
        window_samples: u32,
        /// Samples between the starts of two windows; a multiple of 10 ms.
        hop_samples: u32,
        /// What the network takes and gives where it is not the usual.
        #[serde(default, skip_serializing_if = "WindowInput::is_default")]
        input: WindowInput,
    },
    /// A frame-level trunk, then masked statistics pooling for each local speaker of each chunk.
    FrameLevel {
        /// ONNX file: `[batch, feature frames, mel bins]` → `[batch, channels, steps]`.
        trunk_file: String,
        /// ONNX file: `[batch, channels, steps]`, `[batch, speakers, steps]` → `[batch, speakers, dimension]`.
        head_file: String,
        /// Channels of the trunk's output.
        trunk_channels: u32,
        /// Steps of the trunk's output for one full chunk.
        trunk_steps: u32,
        /// Feature frames between two steps of the trunk.
        step_frames: u32,
        /// Feature frames on either side of a step that change it; a multiple of `step_frames`.
        context_frames: u32,
        /// A local speaker is pooled over the frames in which nobody else speaks when there are at least this many, else
        /// over all of its frames.
        clean_frames_min: u32,
        /// What the trunk runs over.
        span: TrunkSpan,
    },
}

/// What a frame-level trunk runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrunkSpan {
    /// Each chunk by itself, features centred over the chunk: the numbers of the reference.
    Chunk,
    /// The recording, once, features centred over a sliding span: near those numbers, and about ten times less work.
    Recording(RecordingSpan),
}

/// See [`TrunkSpan::Recording`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingSpan {
    /// Feature frames of the span whose mean is subtracted from the frame in its middle; at the recording's ends the span
    /// keeps its length and lies inside.
    pub mean_frames: u32,
    /// Feature frames that go through the trunk at once, besides their context; a multiple of `step_frames`.
    pub block_frames: u32,
}

/// What a windowed network takes and gives where it is not `[batch, feature frames, mel bins]` → one output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowInput {
    /// Order of the axes, or samples instead of features.
    #[serde(default)]
    pub layout: InputLayout,
    /// Name of a second input that wants the length of each row (feature frames or samples), as 64-bit integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_input: Option<String>,
    /// Name of the output that holds the embedding; the first one unless it is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl WindowInput {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Axes of a windowed network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputLayout {
    /// `[batch, feature frames, mel bins]`.
    #[default]
    FramesMel,
    /// `[batch, mel bins, feature frames]`.
    MelFrames,
    /// `[batch, samples]`, in [-1, 1]: the network makes its features itself.
    Samples,
}

impl EmbeddingKind {
    /// Its `kind` in the manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Windowed { .. } => "windowed",
            Self::FrameLevel { .. } => "frame_level",
        }
    }
}

impl Segmentation {
    pub(super) fn check(&self) -> Result<(), ManifestError> {
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
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        let outside = |field, value: String| Err(ManifestError::OutOfBounds { field, value });
        if !(1..=4096).contains(&self.dimension) {
            return outside("embedding.dimension", self.dimension.to_string());
        }
        if let Some(feature) = &self.feature {
            feature.check()?;
        }
        match &self.kind {
            EmbeddingKind::Windowed { window_samples, hop_samples, input, .. } => {
                let least = self.feature.as_ref().map_or(160, |f| f.frame_samples);
                if !(least..=960_000).contains(window_samples) {
                    return outside("embedding.kind.window_samples", window_samples.to_string());
                }
                if *hop_samples == 0 || hop_samples > window_samples || hop_samples % self.hop_unit() != 0 {
                    return outside("embedding.kind.hop_samples", hop_samples.to_string());
                }
                if self.feature.is_some() == (input.layout == InputLayout::Samples) {
                    return outside("embedding.kind.input.layout", format!("{:?}", input.layout));
                }
                Ok(())
            }
            EmbeddingKind::FrameLevel { .. } if self.feature.is_none() => {
                outside("embedding.feature", "null".to_owned())
            }
            EmbeddingKind::FrameLevel { .. } => self.kind.check_frame_level(),
        }
    }

    /// What windows start at multiples of, samples.
    fn hop_unit(&self) -> u32 {
        self.feature.as_ref().map_or(160, |f| f.frame_step_samples)
    }
}

impl EmbeddingKind {
    fn check_frame_level(&self) -> Result<(), ManifestError> {
        let Self::FrameLevel {
            trunk_channels,
            trunk_steps,
            step_frames,
            context_frames,
            clean_frames_min,
            span,
            ..
        } = self
        else {
            return Ok(());
        };
        let bound = |ok: bool, field, value: u32| {
            if ok { Ok(()) } else { Err(ManifestError::OutOfBounds { field, value: value.to_string() }) }
        };
        bound((1..=65_536).contains(trunk_channels), "embedding.kind.trunk_channels", *trunk_channels)?;
        bound((1..=65_536).contains(trunk_steps), "embedding.kind.trunk_steps", *trunk_steps)?;
        // A chunk's features are what a bundle may make the engine hold.
        bound(
            u64::from(*trunk_channels) * u64::from(*trunk_steps) <= 1 << 24,
            "embedding.kind.trunk_channels",
            *trunk_channels,
        )?;
        bound((1..=1_000).contains(step_frames), "embedding.kind.step_frames", *step_frames)?;
        let whole = |frames: u32| frames.is_multiple_of(*step_frames);
        let context = *context_frames;
        bound(context <= 6_000 && whole(context), "embedding.kind.context_frames", context)?;
        bound(*clean_frames_min <= 65_536, "embedding.kind.clean_frames_min", *clean_frames_min)?;
        let TrunkSpan::Recording(RecordingSpan { mean_frames, block_frames }) = *span else {
            return Ok(());
        };
        bound((1..=60_000).contains(&mean_frames), "embedding.kind.span.mean_frames", mean_frames)?;
        let blocks = (1..=60_000).contains(&block_frames) && whole(block_frames);
        bound(blocks, "embedding.kind.span.block_frames", block_frames)
    }
}

impl Feature {
    fn check(&self) -> Result<(), ManifestError> {
        let outside = |field, value: String| Err(ManifestError::OutOfBounds { field, value });
        if !(1..=512).contains(&self.mel_bins) {
            return outside("embedding.feature.mel_bins", self.mel_bins.to_string());
        }
        if !(16..=4096).contains(&self.frame_samples)
            || !(16..=self.frame_samples).contains(&self.frame_step_samples)
        {
            return outside("embedding.feature.frame_samples", self.frame_samples.to_string());
        }
        if !(self.sample_scale.is_finite() && self.sample_scale > 0.0) {
            return outside("embedding.feature.sample_scale", self.sample_scale.to_string());
        }
        if !(self.low_hz >= 0.0 && self.high_hz > self.low_hz && self.high_hz <= 8_000.0) {
            return outside("embedding.feature.high_hz", self.high_hz.to_string());
        }
        Ok(())
    }
}
