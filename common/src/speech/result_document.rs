//! `segments.json`: the boundary type of a result.
//!
//! Invariants: times are whole milliseconds; `diarization` is sorted by (start, end) and may overlap, `exclusive` is
//! sorted and never does; a label names the speaker of its index in `speakers`. Field order here is the order in the
//! document.

use serde::{Deserialize, Serialize};

use super::diarization::{Diarization, Turn};
use super::time::{Millis, Seconds};

/// The `schema` of documents this code reads and writes.
pub const SCHEMA: &str = "rollcall/segments/1";
/// The speaker of a transcript segment during which nobody speaks.
pub const UNKNOWN: &str = "UNKNOWN";

/// Who spoke when in one recording, what was said, and how that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The transcript's segments with a speaker, else the exclusive turns without text.
    pub segments: Vec<Segment>,
    /// Labels, in order of first speech.
    pub speakers: Vec<String>,
    /// All turns; they may overlap.
    pub diarization: Vec<LabelledTurn>,
    /// Turns of which no two overlap.
    pub exclusive: Vec<LabelledTurn>,
    /// One entry for each of `speakers`, in the same order.
    pub speaker_details: Vec<SpeakerDetail>,
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Which job and attempt made this.
    pub job: JobFacts,
    /// The recording.
    pub audio: AudioFacts,
    /// The models.
    pub bundle: BundleFacts,
    /// The device they ran on: `cpu`, `cuda:0`.
    pub device: String,
    /// Where the time went.
    pub timing: Timing,
    /// Sentences about what was not as it should be, such as damaged spans of the audio.
    pub warnings: Vec<String>,
    /// Whether sparse looks sufficed, because the recording is one known voice throughout; absent where they did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fast_path: bool,
}

/// A span of the transcript, or an exclusive turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it starts, as text with three places.
    #[serde(with = "text")]
    pub start: Millis,
    /// Where it ends, likewise.
    #[serde(with = "text")]
    pub end: Millis,
    /// What was said; absent without a transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A label, or [`UNKNOWN`].
    pub speaker: String,
}

/// A turn with the label of its speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledTurn {
    /// Where it starts.
    #[serde(with = "number")]
    pub start: Millis,
    /// Where it ends; after `start`.
    #[serde(with = "number")]
    pub end: Millis,
    /// The label.
    pub speaker: String,
}

impl LabelledTurn {
    /// Its length.
    #[must_use]
    pub fn length(&self) -> Millis {
        self.end.since(self.start)
    }
}

/// What is known of one speaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeakerDetail {
    /// The label.
    pub label: String,
    /// The known voice it was recognised as.
    pub name: Option<String>,
    /// Speech, seconds, overlapped speech included.
    #[serde(rename = "speech_s", with = "number")]
    pub speech: Millis,
    /// Number of turns in `diarization`.
    pub turns: usize,
    /// Cosine similarity to the known voice.
    pub similarity: Option<f64>,
    /// The channel that the speaker is on, counted from 1; absent where channels were mixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u32>,
}

impl SpeakerDetail {
    /// What to call the speaker in front of a person: the name, else the label.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.label)
    }
}

/// Which job and attempt made the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// The job's id.
    pub id: String,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// What is known of the recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioFacts {
    /// Where it was read from.
    pub uri: String,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length of the decoded audio, seconds.
    #[serde(rename = "duration_s", with = "number")]
    pub duration: Millis,
    /// Sample rate of the file, Hz.
    pub sample_rate_hz: u32,
    /// Channels of the file.
    pub channels: u32,
    /// Name of its codec: `flac`, `aac`, `opus`, ...
    pub codec: String,
}

/// The bundle that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFacts {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its manifest, lower-case hex.
    pub sha256: String,
}

/// Seconds spent in each stage; three places.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// Decoding and resampling.
    pub decode_s: f64,
    /// The segmentation network.
    pub segmentation_s: f64,
    /// Features and the embedding network.
    pub embedding_s: f64,
    /// Clustering and reconstruction.
    pub clustering_s: f64,
    /// From the first to the last of them, on the wall clock.
    pub total_s: f64,
    /// `total_s` over the length of the audio, five places; 0 for empty audio.
    pub realtime_factor: f64,
}

/// Everything in a document that is not about speech.
#[derive(Debug, Clone, PartialEq)]
pub struct Provenance {
    /// Which job and attempt.
    pub job: JobFacts,
    /// The recording.
    pub audio: AudioFacts,
    /// The models.
    pub bundle: BundleFacts,
    /// The device.
    pub device: String,
    /// Where the time went; rounded here, and its `realtime_factor` computed.
    pub timing: Timing,
    /// Sentences.
    pub warnings: Vec<String>,
}

/// The known voice that a speaker was recognised as.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownVoice {
    /// Its name.
    pub name: String,
    /// Cosine similarity.
    pub similarity: f64,
}

/// A transcript segment whose speaker was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpokenSegment {
    /// Where it starts.
    pub start: Millis,
    /// Where it ends; not before `start`.
    pub end: Millis,
    /// What was said.
    pub text: String,
    /// Who said it; `None` where nobody speaks.
    pub speaker: Option<usize>,
}

impl Document {
    /// A document without a transcript: its segments are the exclusive turns.
    #[must_use]
    pub fn new(diarization: &Diarization, provenance: Provenance) -> Self {
        let speakers: Vec<String> = (0..diarization.speakers()).map(Diarization::label).collect();
        let turns = labelled(diarization.turns(), &speakers);
        let exclusive = labelled(diarization.exclusive(), &speakers);
        let mut details: Vec<SpeakerDetail> = speakers
            .iter()
            .map(|label| SpeakerDetail {
                label: label.clone(),
                name: None,
                speech: Millis::new(0),
                turns: 0,
                similarity: None,
                channel: None,
            })
            .collect();
        for turn in diarization.turns() {
            let detail = &mut details[turn.speaker];
            let length = Millis::from(turn.end).since(turn.start.into());
            detail.speech = Millis::new(detail.speech.get() + length.get());
            detail.turns += usize::from(length > Millis::new(0));
        }
        let segments = exclusive
            .iter()
            .map(|t| Segment { start: t.start, end: t.end, text: None, speaker: t.speaker.clone() })
            .collect();
        let Provenance { job, audio, bundle, device, timing, warnings } = provenance;
        Self {
            segments,
            speakers,
            diarization: turns,
            exclusive,
            speaker_details: details,
            schema: SCHEMA.to_owned(),
            job,
            timing: timing.rounded(audio.duration),
            audio,
            bundle,
            device,
            warnings,
            fast_path: false,
        }
    }

    /// The same, made by the fast path.
    #[must_use]
    pub fn by_fast_path(mut self) -> Self {
        self.fast_path = true;
        self
    }

    /// The same with the transcript's segments in place of the exclusive turns.
    #[must_use]
    pub fn with_transcript(mut self, segments: &[SpokenSegment]) -> Self {
        self.segments = segments
            .iter()
            .map(|segment| Segment {
                start: segment.start,
                end: segment.end,
                text: Some(segment.text.clone()),
                speaker: segment.speaker.map_or_else(|| UNKNOWN.to_owned(), Diarization::label),
            })
            .collect();
        self
    }

    /// The same with the names of recognised speakers; `voices` in label order, missing ones are unnamed.
    #[must_use]
    pub fn with_voices(mut self, voices: &[Option<KnownVoice>]) -> Self {
        for (detail, voice) in self.speaker_details.iter_mut().zip(voices) {
            detail.name = voice.as_ref().map(|v| v.name.clone());
            detail.similarity = voice.as_ref().map(|v| rounded(v.similarity, 1e3));
        }
        self
    }

    /// The same with the channel of each speaker, counted from 0, in label order; none where channels were mixed.
    #[must_use]
    pub fn with_channels(mut self, channels: &[usize]) -> Self {
        for (detail, channel) in self.speaker_details.iter_mut().zip(channels) {
            detail.channel = u32::try_from(channel + 1).ok();
        }
        self
    }

    /// The channel of the speaker with this label, counted from 1; 1 where channels were mixed.
    #[must_use]
    pub fn channel(&self, label: &str) -> u32 {
        self.speaker_details.iter().find(|d| d.label == label).and_then(|d| d.channel).unwrap_or(1)
    }

    /// Whether `segments` carry what was said.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.segments.iter().any(|segment| segment.text.is_some())
    }

    /// What to call the speaker with this label in front of a person.
    #[must_use]
    pub fn shown<'a>(&'a self, label: &'a str) -> &'a str {
        self.speaker_details.iter().find(|d| d.label == label).map_or(label, SpeakerDetail::shown)
    }
}

impl Timing {
    fn rounded(self, audio: Millis) -> Self {
        let factor = if audio == Millis::new(0) { 0.0 } else { self.total_s / audio.as_s() };
        Self {
            decode_s: rounded(self.decode_s, 1e3),
            segmentation_s: rounded(self.segmentation_s, 1e3),
            embedding_s: rounded(self.embedding_s, 1e3),
            clustering_s: rounded(self.clustering_s, 1e3),
            total_s: rounded(self.total_s, 1e3),
            realtime_factor: rounded(factor, 1e5),
        }
    }
}

/// The double nearest to a decimal with as many places as `scale` has zeros: it prints with no more than those.
fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

/// Turns shorter than half a millisecond vanish here: a document has no empty turns.
fn labelled(turns: &[Turn], labels: &[String]) -> Vec<LabelledTurn> {
    let label = |t: &Turn| LabelledTurn {
        start: t.start.into(),
        end: t.end.into(),
        speaker: labels[t.speaker].clone(),
    };
    turns.iter().map(label).filter(|turn| turn.start < turn.end).collect()
}

/// Latest time that a document may name, seconds: far beyond the longest recording, far below the end of `u64`.
const TIME_S_MAX: f64 = 1e9;

fn checked<E: serde::de::Error>(value: f64) -> Result<Millis, E> {
    Seconds::new(value)
        .filter(|s| s.get() <= TIME_S_MAX)
        .map(Millis::from)
        .ok_or_else(|| E::custom(format!("not a time in seconds: {value}")))
}

/// Times as JSON numbers.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Millis, checked};

    pub fn serialize<S: Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_s())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        f64::deserialize(deserializer).and_then(checked)
    }
}

/// Times as JSON strings, the form that readers of transcript diarization expect in `segments`.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::{Millis, checked};

    pub fn serialize<S: Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.decimal())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = text.parse().map_err(|_| D::Error::custom(format!("not a time in seconds: `{text}`")))?;
        checked(value)
    }
}
