//! What a submission asks for: a line of a manifest, the body of `POST /v1/jobs` (contract, section 8). Bounded by
//! whoever reads it; here an unknown key, word or number out of range is an error that names it.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::lane::Lane;
use common::job::spec::{
    Channels, DocumentFormat, JobSpec, Limits, Options, SourceRef, SpeakerCount, SpecError, check_delay,
};
use serde::Deserialize;
use utoipa::ToSchema;

/// A submission as it is written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobBody {
    /// The recording; left out where it comes as part `audio` of a form.
    audio: Option<Address>,
    #[serde(default, deserialize_with = "or_nothing")]
    options: OptionsBody,
    /// `high`, `normal` (the default) or `low`.
    #[schema(example = "normal")]
    priority: Option<String>,
    /// Not before so many seconds have passed.
    #[schema(minimum = 0)]
    delay_s: Option<f64>,
    /// Your own words, found again by `GET /v1/jobs?tag=KEY=VALUE`.
    #[serde(default, deserialize_with = "or_nothing")]
    tags: BTreeMap<String, String>,
    /// `https://` address that is told when the job is over.
    callback_url: Option<String>,
    /// The same key gives the same job.
    idempotency_key: Option<String>,
    /// `NAME` or `NAME@VERSION` of a model bundle.
    bundle: Option<String>,
    /// `s3://…/prefix/` where the documents go besides the store's own place; in the store or where `ROLLCALL_ALLOW` says.
    output: Option<String>,
    /// Failed attempts after which it is given up.
    max_attempts: Option<u32>,
    /// Longest time of an attempt.
    #[schema(minimum = 0)]
    timeout_s: Option<f64>,
}

/// An address, bare or as an object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "an address is a string, or an object with `uri`")]
enum Address {
    Bare(String),
    Object(AddressObject),
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddressObject {
    /// `s3://` object in the store or where `ROLLCALL_ALLOW` says, or `https://` address.
    uri: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OptionsBody {
    /// How many people speak; without it they are counted.
    num_speakers: Option<u32>,
    /// At least so many people.
    min_speakers: Option<u32>,
    /// At most so many people.
    max_speakers: Option<u32>,
    /// `mix` (the default) or `separate`: a call with its people on separate channels.
    #[schema(example = "mix")]
    channels: Option<String>,
    /// Documents to write: `json`, `rttm`, `srt`, `vtt`, `html`, `txt`.
    #[schema(example = json!(["json", "srt"]))]
    formats: Option<Vec<String>>,
    /// A transcript whose segments get speakers; left out where it comes as part `transcript` of a form.
    transcript: Option<Address>,
}

/// `null` is nothing said, as everywhere else.
fn or_nothing<'de, T: Default + Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Address {
    fn into_text(self) -> String {
        match self {
            Self::Bare(text) | Self::Object(AddressObject { uri: text }) => text,
        }
    }
}

/// Why a submission is refused as it is written.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not JSON of this shape.
    #[error("not a job: {0}")]
    Json(String),
    /// A word that names nothing.
    #[error("`{field}` is one of {known}: `{value}`")]
    Word {
        /// The key.
        field: &'static str,
        /// What it may be.
        known: String,
        /// What it is.
        value: String,
    },
    /// A length of time that is negative or endless.
    #[error("`{field}` is a number of seconds: {value}")]
    Seconds {
        /// The key.
        field: &'static str,
        /// What it is.
        value: f64,
    },
    /// An exact number of speakers beside bounds.
    #[error("`num_speakers` goes without `min_speakers` and `max_speakers`")]
    Speakers,
    /// A wish is out of its bounds.
    #[error(transparent)]
    Spec(SpecError),
}

/// What a submitter wants of a job, apart from its recording; `None` and empty are "nothing said".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wishes {
    /// People expected.
    pub speakers: Option<SpeakerCount>,
    /// What the channels are.
    pub channels: Option<Channels>,
    /// Documents to write.
    pub formats: Option<Vec<DocumentFormat>>,
    /// Where the transcript is.
    pub transcript: Option<String>,
    /// Priority.
    pub lane: Option<Lane>,
    /// Not before this much time has passed.
    pub delay: Option<Duration>,
    /// The submitter's own words.
    pub tags: BTreeMap<String, String>,
    /// Who is told about the end.
    pub callback_url: Option<String>,
    /// The submitter's name for it.
    pub idempotency_key: Option<String>,
    /// Which bundle is to do the work.
    pub bundle: Option<String>,
    /// Where the documents go besides the store's own place.
    pub output: Option<String>,
    /// Failed attempts after which it is given up.
    pub attempts_max: Option<u32>,
    /// Longest time of an attempt.
    pub timeout: Option<Duration>,
}

/// One submission: where the recording is, and what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRequest {
    /// Where the recording is.
    pub audio: String,
    /// What is wanted.
    pub wishes: Wishes,
}

impl JobRequest {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn from_json(text: &str) -> Result<Self, RequestError> {
        let (audio, wishes) = Wishes::from_json(text)?;
        let missing = || RequestError::Json("missing field `audio`".to_owned());
        Ok(Self { audio: audio.ok_or_else(missing)?, wishes })
    }
}

impl Wishes {
    /// Reads one JSON object; its recording may be named elsewhere.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn from_json(text: &str) -> Result<(Option<String>, Self), RequestError> {
        let wire: JobBody =
            serde_json::from_str(text).map_err(|error| RequestError::Json(error.to_string()))?;
        let OptionsBody { num_speakers, min_speakers, max_speakers, channels, formats, transcript } =
            wire.options;
        let speakers = match (num_speakers, min_speakers, max_speakers) {
            (None, None, None) => None,
            (Some(count), None, None) => Some(SpeakerCount::Exactly(count)),
            (None, min, max) => Some(SpeakerCount::Between(min, max)),
            (Some(_), _, _) => return Err(RequestError::Speakers),
        };
        let lane = wire.priority.map(|word| {
            word.parse::<Lane>().map_err(|_| unknown("priority", &Lane::ALL.map(Lane::as_str), &word))
        });
        let formats =
            formats.map(|words| words.iter().map(|word| format(word)).collect::<Result<Vec<_>, _>>());
        let wishes = Self {
            speakers,
            channels: channels.map(|word| self::channels(&word)).transpose()?,
            formats: formats.transpose()?.map(sorted),
            transcript: transcript.map(Address::into_text),
            lane: lane.transpose()?,
            delay: wire.delay_s.map(|value| length("delay_s", value)).transpose()?,
            tags: wire.tags,
            callback_url: wire.callback_url,
            idempotency_key: wire.idempotency_key,
            bundle: wire.bundle,
            output: wire.output,
            attempts_max: wire.max_attempts,
            timeout: wire.timeout_s.map(|value| length("timeout_s", value)).transpose()?,
        };
        Ok((wire.audio.map(Address::into_text), wishes))
    }

    /// These wishes, and `defaults` where they say nothing; tags are joined, and these win.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        let mut tags = defaults.tags.clone();
        tags.extend(self.tags);
        Self {
            speakers: self.speakers.or(defaults.speakers),
            channels: self.channels.or(defaults.channels),
            formats: self.formats.or_else(|| defaults.formats.clone()),
            transcript: self.transcript.or_else(|| defaults.transcript.clone()),
            lane: self.lane.or(defaults.lane),
            delay: self.delay.or(defaults.delay),
            tags,
            callback_url: self.callback_url.or_else(|| defaults.callback_url.clone()),
            idempotency_key: self.idempotency_key.or_else(|| defaults.idempotency_key.clone()),
            bundle: self.bundle.or_else(|| defaults.bundle.clone()),
            output: self.output.or_else(|| defaults.output.clone()),
            attempts_max: self.attempts_max.or(defaults.attempts_max),
            timeout: self.timeout.or(defaults.timeout),
        }
    }

    /// The specification of a diarization of `audio` with these wishes.
    ///
    /// # Errors
    /// When a part is out of its bounds, the delay among them.
    pub fn spec(&self, audio: SourceRef, transcript: Option<SourceRef>) -> Result<JobSpec, SpecError> {
        self.delay.map_or(Ok(()), check_delay)?;
        let (options, limits) = (Options::default(), Limits::default());
        let spec = JobSpec {
            options: Options {
                speakers: self.speakers.unwrap_or(options.speakers),
                channels: self.channels.unwrap_or(options.channels),
                formats: self.formats.clone().unwrap_or(options.formats),
                transcript,
            },
            bundle: self.bundle.clone(),
            lane: self.lane.unwrap_or_default(),
            tags: self.tags.clone(),
            limits: Limits {
                attempts_max: self.attempts_max.unwrap_or(limits.attempts_max),
                timeout: self.timeout.unwrap_or(limits.timeout),
                ..limits
            },
            callback_url: self.callback_url.clone(),
            output: self.output.clone(),
            ..JobSpec::diarize(audio)
        };
        spec.check().map(|()| spec)
    }
}

/// Formats as a specification wants them: sorted, each once.
#[must_use]
pub fn sorted(mut formats: Vec<DocumentFormat>) -> Vec<DocumentFormat> {
    formats.sort_unstable();
    formats.dedup();
    formats
}

fn unknown(field: &'static str, known: &[&str], value: &str) -> RequestError {
    let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
    RequestError::Word { field, known: known.join(", "), value: value.chars().take(64).collect() }
}

fn channels(word: &str) -> Result<Channels, RequestError> {
    match word {
        "mix" => Ok(Channels::Mix),
        "separate" => Ok(Channels::Separate),
        _ => Err(unknown("channels", &["mix", "separate"], word)),
    }
}

fn format(word: &str) -> Result<DocumentFormat, RequestError> {
    DocumentFormat::parse(word)
        .ok_or_else(|| unknown("formats", &DocumentFormat::ALL.map(DocumentFormat::as_str), word))
}

fn length(field: &'static str, value: f64) -> Result<Duration, RequestError> {
    // The specification has bounds of its own; this one keeps the conversion from failing.
    Duration::try_from_secs_f64(value).map_err(|_| RequestError::Seconds { field, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_object_is_read() {
        let text = r#"{"audio":{"uri":"s3://b/a.wav"},"options":{"min_speakers":2,"max_speakers":4,"channels":"separate",
            "formats":["srt","json","srt"],"transcript":{"uri":"s3://b/t.json"}},"priority":"high","delay_s":1.5,
            "tags":{"team":"a"},"callback_url":"https://x/y","idempotency_key":"k","bundle":"starter",
            "output":"s3://b/out/","max_attempts":2,"timeout_s":60}"#;
        let request = JobRequest::from_json(text).unwrap();
        assert_eq!(request.audio, "s3://b/a.wav");
        let wishes = request.wishes;
        assert_eq!(wishes.speakers, Some(SpeakerCount::Between(Some(2), Some(4))));
        assert_eq!(wishes.formats, Some(vec![DocumentFormat::Json, DocumentFormat::Srt]));
        assert_eq!(wishes.delay, Some(Duration::from_millis(1500)));
        let transcript = Some(SourceRef::at("s3://b/t.json"));
        let spec = wishes.spec(SourceRef::at("s3://b/a.wav"), transcript).unwrap();
        assert_eq!((spec.lane, spec.limits.attempts_max), (Lane::High, 2));
        assert_eq!(spec.limits.timeout, Duration::from_secs(60));
        assert_eq!(spec.options.channels, Channels::Separate);
        assert_eq!(JobRequest::from_json(r#"{"audio":"a.wav"}"#).unwrap().wishes, Wishes::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, said) in [
            (r#"{"audio":"a","prioritty":"high"}"#, "unknown field `prioritty`"),
            (
                r#"{"audio":"a","priority":"urgent"}"#,
                "`priority` is one of `high`, `normal`, `low`: `urgent`",
            ),
            (
                r#"{"audio":"a","options":{"channels":"left"}}"#,
                "`channels` is one of `mix`, `separate`: `left`",
            ),
            (r#"{"audio":"a","options":{"formats":["pdf"]}}"#, "`pdf`"),
            (r#"{"audio":"a","options":{"num_speakers":2,"max_speakers":3}}"#, "goes without"),
            (r#"{"audio":"a","delay_s":-1}"#, "`delay_s` is a number of seconds: -1"),
            (r#"{"audio":{"path":"a"}}"#, "not a job"),
            ("{}", "missing field `audio`"),
            ("[]", "not a job"),
        ] {
            let error = JobRequest::from_json(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let tags = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let defaults = Wishes {
            lane: Some(Lane::Low),
            bundle: Some("b".to_owned()),
            tags: tags(&[("a", "1"), ("b", "2")]),
            ..Wishes::default()
        };
        let said = Wishes { lane: Some(Lane::High), tags: tags(&[("b", "3")]), ..Wishes::default() };
        let joined = said.or(&defaults);
        assert_eq!((joined.lane, joined.bundle.as_deref()), (Some(Lane::High), Some("b")));
        assert_eq!(joined.tags, tags(&[("a", "1"), ("b", "3")]));
        let too_long = Wishes { delay: None, attempts_max: Some(1001), ..Wishes::default() };
        assert!(too_long.spec(SourceRef::at("s3://b/a"), None).is_err());
        for (delay_s, good) in [("31622400", true), ("31622401", false), ("1e17", false)] {
            let text = format!(r#"{{"audio":"s3://b/a","delay_s":{delay_s}}}"#);
            let wishes = JobRequest::from_json(&text).unwrap().wishes;
            assert_eq!(wishes.spec(SourceRef::at("s3://b/a"), None).is_ok(), good, "{delay_s}");
        }
    }
}
