//! What a job is asked to do. A specification never changes once it is accepted.

use std::collections::BTreeMap;
use std::time::Duration;

pub use super::digest::{ContentDigest, ContentDigestError};
use super::lane::Lane;
use super::trace::TraceContext;
use crate::speech::voice;

/// Longest URI of audio, transcript, output and callback, bytes.
pub const URI_BYTES_MAX: usize = 4096;
/// Most tags of a job.
pub const TAGS_MAX: usize = 32;
/// Longest key of a tag, bytes.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// The tag that keeps the name of an uploaded file, unless the submitter uses it.
pub const FILE_TAG: &str = "file";
/// Longest value of a tag, bytes.
pub const TAG_VALUE_BYTES_MAX: usize = 256;
/// Longest bundle and voice name, bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Most speakers that can be asked for.
pub const SPEAKERS_MAX: u32 = 64;
/// Most attempts and crashes that can be asked for.
pub const TRIES_MAX: u32 = 1000;
/// Longest timeout that can be asked for: seven days.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest delay that can be asked for: a year.
pub const DELAY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What the work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobKind {
    /// Who spoke when.
    Diarize,
    /// Learn a known voice under this name.
    Enroll {
        /// The voice's name.
        name: String,
        /// Further recordings of the person, besides the job's audio.
        more: Vec<SourceRef>,
    },
}

/// An object that a job reads, and what is known about its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRef {
    /// `s3://`, `https://` or `file://`.
    pub uri: String,
    /// Digest of the content, when the submitter knows it; a worker refuses other content.
    pub sha256: Option<ContentDigest>,
    /// Size in bytes, when known.
    pub bytes: Option<u64>,
    /// Length of the recording, when known; only for estimates.
    pub duration: Option<Duration>,
}

impl SourceRef {
    /// A source of which only the place is known.
    #[must_use]
    pub fn at(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), sha256: None, bytes: None, duration: None }
    }

    /// The length of the recording, or what its size and the end of its name suggest: right within a factor of a few, which
    /// is far nearer than taking ten seconds and ten hours for the same. `None` when the size is unknown too.
    #[must_use]
    pub fn length_estimate(&self) -> Option<Duration> {
        let guess = || Some(Duration::from_secs(self.bytes? / bytes_per_s(&self.uri)));
        self.duration.or_else(guess)
    }

    /// What stands for the content when poison is remembered: its digest, or that of its place while the digest is
    /// unknown.
    #[must_use]
    pub fn content(&self) -> ContentDigest {
        self.sha256.unwrap_or_else(|| ContentDigest::of(self.uri.as_bytes()))
    }
}

/// What a second of such a recording usually takes: speech at 16 kHz uncompressed, half of that as FLAC, 1 Mbit/s where
/// there are pictures, else 128 kbit/s.
fn bytes_per_s(uri: &str) -> u64 {
    let end = uri.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).unwrap_or_default();
    match end.as_str() {
        "wav" | "aif" | "aiff" | "caf" => 32_000,
        "mp4" | "m4v" | "mov" | "mkv" | "webm" => 125_000,
        _ => 16_000,
    }
}

/// How many people are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpeakerCount {
    /// As many as are found.
    #[default]
    Auto,
    /// Exactly this many, at least 1.
    Exactly(u32),
    /// At least and at most this many; `None` is no bound.
    Between(Option<u32>, Option<u32>),
}

/// What the channels of a recording are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channels {
    /// One scene: mixed before the work.
    #[default]
    Mix,
    /// A call: its people are on separate channels.
    Separate,
}

/// A form in which the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentFormat {
    /// `segments.json`.
    Json,
    /// `turns.rttm`.
    Rttm,
    /// `subtitles.srt`.
    Srt,
    /// `subtitles.vtt`.
    Vtt,
    /// `timeline.html`.
    Html,
    /// `transcript.txt`.
    Txt,
}

impl DocumentFormat {
    /// Every form.
    pub const ALL: [Self; 6] = [Self::Json, Self::Rttm, Self::Srt, Self::Vtt, Self::Html, Self::Txt];

    /// The word for it in flags and requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Rttm => "rttm",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Html => "html",
            Self::Txt => "txt",
        }
    }

    /// The form of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }
}

/// How a recording is to be treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// People expected.
    pub speakers: SpeakerCount,
    /// What the channels are.
    pub channels: Channels,
    /// Forms to write, sorted, without repetition.
    pub formats: Vec<DocumentFormat>,
    /// A transcript whose segments are to get a speaker.
    pub transcript: Option<SourceRef>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            speakers: SpeakerCount::Auto,
            channels: Channels::Mix,
            formats: vec![DocumentFormat::Json, DocumentFormat::Rttm, DocumentFormat::Html],
            transcript: None,
        }
    }
}

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Failed attempts after which the job is discarded, at least 1.
    pub attempts_max: u32,
    /// Crashes after which the job is discarded, at least 1.
    pub crashes_max: u32,
    /// Longest time that one attempt may take.
    pub timeout: Duration,
}

impl Default for Limits {
    /// The contract's five and five; an attempt may take a day.
    fn default() -> Self {
        Self { attempts_max: 5, crashes_max: 5, timeout: Duration::from_secs(24 * 3600) }
    }
}

/// Everything a worker needs to know about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// What the work is.
    pub kind: JobKind,
    /// The recording.
    pub audio: SourceRef,
    /// How it is to be treated.
    pub options: Options,
    /// Bundle asked for; `None` is whatever the worker has loaded.
    pub bundle: Option<String>,
    /// Priority.
    pub lane: Lane,
    /// The submitter's own words for it.
    pub tags: BTreeMap<String, String>,
    /// When to give up.
    pub limits: Limits,
    /// Who is told about the end.
    pub callback_url: Option<String>,
    /// Where the documents go besides the store's own place.
    pub output: Option<String>,
    /// The submitter's trace, which the attempts join. It changes no result.
    pub trace: Option<TraceContext>,
}

/// A specification that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A text is empty or too long.
    #[error("{field} must have 1 to {bytes_max} bytes: {bytes}")]
    Text {
        /// Which one.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest that is accepted.
        bytes_max: usize,
    },
    /// A number lies outside its range.
    #[error("{field} must be {min} to {max}: {value}")]
    Number {
        /// Which one.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The smallest that is accepted.
        min: u64,
        /// The largest that is accepted.
        max: u64,
    },
    /// The smallest number of speakers is above the largest.
    #[error("the fewest speakers are more than the most: {min} > {max}")]
    SpeakersCrossed {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
    },
    /// A name that a voice may not have.
    #[error("{}", voice::VoiceError::Name)]
    VoiceName,
    /// Formats are missing, repeated or unsorted.
    #[error("formats must be sorted, different and at least one")]
    Formats,
}

impl JobSpec {
    /// A diarization of `audio` with every default.
    #[must_use]
    pub fn diarize(audio: SourceRef) -> Self {
        Self {
            kind: JobKind::Diarize,
            audio,
            options: Options::default(),
            bundle: None,
            lane: Lane::Normal,
            tags: BTreeMap::new(),
            limits: Limits::default(),
            callback_url: None,
            output: None,
            trace: None,
        }
    }

    /// Learning the voice `name` from recordings, the first of which is `audio`, with every default.
    #[must_use]
    pub fn enroll(name: &str, audio: SourceRef, more: Vec<SourceRef>) -> Self {
        Self { kind: JobKind::Enroll { name: name.to_owned(), more }, ..Self::diarize(audio) }
    }

    /// What the recording is called in front of people: the name of the file it was, else the end of its address.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        let uri = &self.audio.uri;
        let last = || uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri);
        self.tags.get(FILE_TAG).map_or_else(last, String::as_str)
    }

    /// What documents call the recording: its name without the extension.
    #[must_use]
    pub fn stem(&self) -> &str {
        let name = self.shown_name();
        name.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty()).unwrap_or(name)
    }

    /// Whether every part keeps its bounds.
    ///
    /// # Errors
    /// The first part that does not.
    pub fn check(&self) -> Result<(), SpecError> {
        if let JobKind::Enroll { name, more } = &self.kind {
            if !voice::is_voice_name(name) {
                return Err(SpecError::VoiceName);
            }
            let recordings = more.len() as u64 + 1;
            number("the number of recordings", recordings, 1, voice::RECORDINGS_MAX as u64)?;
            more.iter().try_for_each(|source| text("the audio uri", &source.uri, URI_BYTES_MAX))?;
        }
        text("the audio uri", &self.audio.uri, URI_BYTES_MAX)?;
        for (field, value) in [("callback_url", &self.callback_url), ("output", &self.output)] {
            value.iter().try_for_each(|value| text(field, value, URI_BYTES_MAX))?;
        }
        self.bundle.iter().try_for_each(|value| text("bundle", value, NAME_BYTES_MAX))?;
        number("the number of tags", self.tags.len() as u64, 0, TAGS_MAX as u64)?;
        for (key, value) in &self.tags {
            text("a tag's key", key, TAG_KEY_BYTES_MAX)?;
            number("the length of a tag's value", value.len() as u64, 0, TAG_VALUE_BYTES_MAX as u64)?;
        }
        self.options.check()?;
        self.limits.check()
    }
}

impl Options {
    fn check(&self) -> Result<(), SpecError> {
        let count = |value: u32| number("the number of speakers", value.into(), 1, SPEAKERS_MAX.into());
        match self.speakers {
            SpeakerCount::Auto => {}
            SpeakerCount::Exactly(value) => count(value)?,
            SpeakerCount::Between(min, max) => {
                min.into_iter().chain(max).try_for_each(count)?;
                if let (Some(min), Some(max)) = (min, max)
                    && min > max
                {
                    return Err(SpecError::SpeakersCrossed { min, max });
                }
            }
        }
        if self.formats.is_empty() || !self.formats.is_sorted_by(|a, b| a < b) {
            return Err(SpecError::Formats);
        }
        self.transcript.iter().try_for_each(|source| text("the transcript uri", &source.uri, URI_BYTES_MAX))
    }

    /// One text for everything that can change a result; what is written alike is treated alike.
    fn canonical(&self) -> Option<String> {
        let formats: Vec<_> = self.formats.iter().map(|format| format.as_str()).collect();
        let transcript = match &self.transcript {
            None => "none".to_owned(),
            Some(source) => source.sha256?.to_string(),
        };
        let (speakers, channels) = (self.speakers, self.channels);
        Some(format!("{speakers:?} {channels:?} {} {transcript}", formats.join(",")))
    }
}

impl Limits {
    fn check(&self) -> Result<(), SpecError> {
        number("the maximum of attempts", self.attempts_max.into(), 1, TRIES_MAX.into())?;
        number("the maximum of crashes", self.crashes_max.into(), 1, TRIES_MAX.into())?;
        number("the timeout in seconds", self.timeout.as_secs(), 1, TIMEOUT_MAX.as_secs())
    }
}

fn text(field: &'static str, value: &str, bytes_max: usize) -> Result<(), SpecError> {
    let bytes = value.len();
    if (1..=bytes_max).contains(&bytes) { Ok(()) } else { Err(SpecError::Text { field, bytes, bytes_max }) }
}

fn number(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), SpecError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(SpecError::Number { field, value, min, max }) }
}

/// Whether a job may be put off for so long.
///
/// # Errors
/// [`SpecError::Number`] above [`DELAY_MAX`].
pub fn check_delay(delay: Duration) -> Result<(), SpecError> {
    // Rounded up: a part of a second more is more.
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
    number("the delay in seconds", seconds, 0, DELAY_MAX.as_secs())
}

/// What names a result that can serve another job: the audio's content, the bundle, and everything in the options that
/// changes the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(ContentDigest);

impl CacheKey {
    /// The key of a diarization by `bundle` (`NAME@VERSION`). `None` when a result cannot be reused: an enrolment, or a
    /// transcript whose content is unknown.
    #[must_use]
    pub fn of(spec: &JobSpec, audio: ContentDigest, bundle: &str) -> Option<Self> {
        match spec.kind {
            JobKind::Enroll { .. } => None,
            JobKind::Diarize => {
                let options = spec.options.canonical()?;
                Some(Self(ContentDigest::of(format!("{audio}\n{bundle}\n{options}").as_bytes())))
            }
        }
    }

    /// The same where `voices` are known: a result names them, so it serves nobody who knows others. Where none are, no
    /// digest is, and the key is the one above.
    #[must_use]
    pub fn with_voices(self, voices: Option<ContentDigest>) -> Self {
        voices.map_or(self, |voices| Self(ContentDigest::of(format!("{}\n{voices}", self.0).as_bytes())))
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn to_text(self) -> String {
        let mut text = self.0.to_string();
        text.truncate(32);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_called_what_its_file_was() {
        let mut spec = JobSpec::diarize(SourceRef::at("s3://b/calls/monday.am.wav"));
        assert_eq!((spec.shown_name(), spec.stem()), ("monday.am.wav", "monday.am"));
        for (file, stem) in [("Talk 1.WAV", "Talk 1"), ("talk", "talk"), (".wav", ".wav")] {
            spec.tags.insert(FILE_TAG.to_owned(), file.to_owned());
            assert_eq!((spec.shown_name(), spec.stem()), (file, stem));
        }
    }

    #[test]
    fn each_bound_holds_and_one_past_it_does_not() {
        let spec = || JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        let ok = |change: &dyn Fn(&mut JobSpec)| {
            let mut spec = spec();
            change(&mut spec);
            spec.check().is_ok()
        };
        assert!(ok(&|_| {}));
        for (bytes, good) in [(0, false), (URI_BYTES_MAX, true), (URI_BYTES_MAX + 1, false)] {
            assert_eq!(ok(&|s| s.audio.uri = "u".repeat(bytes)), good);
            assert_eq!(ok(&|s| s.output = Some("u".repeat(bytes))), good);
            assert_eq!(ok(&|s| s.options.transcript = Some(SourceRef::at("u".repeat(bytes)))), good);
        }
        for (count, good) in [(0, false), (1, true), (SPEAKERS_MAX, true), (SPEAKERS_MAX + 1, false)] {
            assert_eq!(ok(&|s| s.options.speakers = SpeakerCount::Exactly(count)), good);
            assert_eq!(ok(&|s| s.options.speakers = SpeakerCount::Between(Some(count), None)), good);
        }
        assert!(!ok(&|s| s.options.speakers = SpeakerCount::Between(Some(3), Some(2))));
        for (tries, good) in [(0, false), (TRIES_MAX, true), (TRIES_MAX + 1, false)] {
            assert_eq!(ok(&|s| s.limits.attempts_max = tries), good);
            assert_eq!(ok(&|s| s.limits.crashes_max = tries), good);
        }
        assert!(!ok(&|s| s.limits.timeout = TIMEOUT_MAX + Duration::from_secs(1)));
        for (tags, good) in [(TAGS_MAX, true), (TAGS_MAX + 1, false)] {
            assert_eq!(ok(&|s| s.tags = (0..tags).map(|i| (i.to_string(), String::new())).collect()), good);
        }
        assert!(!ok(&|s| s.tags = BTreeMap::from([("k".repeat(TAG_KEY_BYTES_MAX + 1), String::new())])));
        assert!(!ok(&|s| s.tags = BTreeMap::from([("k".into(), "v".repeat(TAG_VALUE_BYTES_MAX + 1))])));
        assert!(!ok(&|s| s.options.formats.clear()));
        assert!(!ok(&|s| s.options.formats = vec![DocumentFormat::Json, DocumentFormat::Json]));
        assert!(check_delay(Duration::ZERO).is_ok() && check_delay(DELAY_MAX).is_ok());
        for over in [DELAY_MAX + Duration::from_nanos(1), Duration::MAX] {
            assert!(check_delay(over).is_err(), "{over:?}");
        }
        let enroll = |name: &str, more: usize| JobKind::Enroll {
            name: name.into(),
            more: vec![SourceRef::at("s3://b/b.wav"); more],
        };
        for name in ["", "../x", "a/b", &"n".repeat(voice::NAME_BYTES_MAX + 1)] {
            assert!(!ok(&|s| s.kind = enroll(name, 0)), "{name}");
        }
        for (more, good) in [(0, true), (voice::RECORDINGS_MAX - 1, true), (voice::RECORDINGS_MAX, false)] {
            assert_eq!(ok(&|s| s.kind = enroll("Ada", more)), good);
        }
    }

    #[test]
    fn a_length_is_estimated_by_size_unless_it_is_known() {
        let hour =
            |uri: &str, bytes| SourceRef { bytes: Some(bytes), ..SourceRef::at(uri) }.length_estimate();
        assert_eq!(hour("s3://b/a.WAV", 115_200_000), Some(Duration::from_secs(3600)));
        assert_eq!(hour("s3://b/a.mp3", 57_600_000), Some(Duration::from_secs(3600)));
        assert_eq!(hour("s3://b/a.mp4", 450_000_000), Some(Duration::from_secs(3600)));
        assert_eq!(hour("s3://b/noend", u64::MAX).map(|long| long.as_secs()), Some(u64::MAX / 16_000));
        assert_eq!(SourceRef::at("https://h/a.mp3").length_estimate(), None);
        let known = Some(Duration::from_secs(7));
        let source = SourceRef { duration: known, bytes: Some(1 << 40), ..SourceRef::at("s3://b/a.wav") };
        assert_eq!(source.length_estimate(), known);
    }

    #[test]
    fn results_are_shared_only_by_what_gives_the_same_documents() {
        let audio = ContentDigest::of(b"audio");
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        let key = CacheKey::of(&spec, audio, "starter@1").unwrap();
        let mut elsewhere = spec.clone();
        elsewhere.audio.uri = "s3://b/other.wav".into();
        elsewhere.lane = Lane::High;
        elsewhere.trace = TraceContext::new([1; 16], [2; 8], 1);
        assert_eq!(CacheKey::of(&elsewhere, audio, "starter@1"), Some(key));
        assert_ne!(CacheKey::of(&spec, audio, "starter@2"), Some(key));
        assert_ne!(CacheKey::of(&spec, ContentDigest::of(b"other"), "starter@1"), Some(key));
        let mut two = spec.clone();
        two.options.speakers = SpeakerCount::Exactly(2);
        assert_ne!(CacheKey::of(&two, audio, "starter@1"), Some(key));
        let mut with_text = spec;
        with_text.options.transcript = Some(SourceRef::at("s3://b/t.json"));
        assert_eq!(CacheKey::of(&with_text, audio, "starter@1"), None);
        assert_eq!(key.to_text().len(), 32);
        let known = |text: &[u8]| key.with_voices(Some(ContentDigest::of(text)));
        assert_eq!(key.with_voices(None), key);
        assert!(known(b"a") != key && known(b"a") != known(b"b") && known(b"a") == known(b"a"));
    }
}
