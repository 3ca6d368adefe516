//! A specification as JSON with short keys; whatever is at its default is left out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::unreadable;
use crate::clock::millis;
use crate::job::lane::Lane;
use crate::job::spec::{
    Channels, DocumentFormat, JobKind, JobSpec, Limits, Options, SourceRef, SpeakerCount,
};
use crate::port::job_store::StoreResult;

#[derive(Serialize, Deserialize)]
struct SourceWire {
    #[serde(rename = "u")]
    uri: String,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct SpecWire {
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    enroll: Option<String>,
    #[serde(rename = "em", default, skip_serializing_if = "Vec::is_empty")]
    enroll_more: Vec<SourceWire>,
    #[serde(rename = "a")]
    audio: SourceWire,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    speakers_exactly: Option<u32>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    speakers_between: Option<(Option<u32>, Option<u32>)>,
    #[serde(rename = "s", default, skip_serializing_if = "std::ops::Not::not")]
    separate: bool,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    formats: Option<String>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    transcript: Option<SourceWire>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    #[serde(rename = "g", default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    limits: Option<(u32, u32, u64)>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// The text of a specification; its lane stands elsewhere.
pub fn write_spec(spec: &JobSpec) -> Vec<u8> {
    let (speakers_exactly, speakers_between) = match spec.options.speakers {
        SpeakerCount::Auto => (None, None),
        SpeakerCount::Exactly(count) => (Some(count), None),
        SpeakerCount::Between(min, max) => (None, Some((min, max))),
    };
    let (enroll, enroll_more) = match &spec.kind {
        JobKind::Diarize => (None, Vec::new()),
        JobKind::Enroll { name, more } => (Some(name.clone()), more.iter().map(write_source).collect()),
    };
    let formats: Vec<_> = spec.options.formats.iter().map(|format| format.as_str()).collect();
    let limits = spec.limits;
    let wire = SpecWire {
        enroll,
        enroll_more,
        audio: write_source(&spec.audio),
        speakers_exactly,
        speakers_between,
        separate: spec.options.channels == Channels::Separate,
        formats: (spec.options.formats != Options::default().formats).then(|| formats.join(",")),
        transcript: spec.options.transcript.as_ref().map(write_source),
        bundle: spec.bundle.clone(),
        tags: spec.tags.clone(),
        limits: (limits != Limits::default()).then_some((
            limits.attempts_max,
            limits.crashes_max,
            limits.timeout.as_secs(),
        )),
        callback_url: spec.callback_url.clone(),
        output: spec.output.clone(),
        trace: spec.trace.map(|trace| trace.to_string()),
    };
    serde_json::to_vec(&wire).expect("texts, numbers and maps of texts always have a JSON form")
}

/// The specification of a text.
pub fn read_spec(text: &str, lane: Lane) -> StoreResult<JobSpec> {
    let wrong = || unreadable("specification", text);
    let wire: SpecWire = serde_json::from_str(text).map_err(|_| wrong())?;
    let formats = match &wire.formats {
        None => Options::default().formats,
        Some(list) => {
            list.split(',').map(DocumentFormat::parse).collect::<Option<Vec<_>>>().ok_or_else(wrong)?
        }
    };
    let limits = wire.limits.map(|(attempts_max, crashes_max, timeout_s)| Limits {
        attempts_max,
        crashes_max,
        timeout: Duration::from_secs(timeout_s),
    });
    let speakers = match (wire.speakers_exactly, wire.speakers_between) {
        (Some(count), _) => SpeakerCount::Exactly(count),
        (None, Some((min, max))) => SpeakerCount::Between(min, max),
        (None, None) => SpeakerCount::Auto,
    };
    let transcript = wire.transcript.map(read_source).transpose()?;
    let more = wire.enroll_more.into_iter().map(read_source).collect::<StoreResult<Vec<_>>>()?;
    let spec = JobSpec {
        kind: wire.enroll.map_or(JobKind::Diarize, |name| JobKind::Enroll { name, more }),
        audio: read_source(wire.audio)?,
        options: Options {
            speakers,
            channels: if wire.separate { Channels::Separate } else { Channels::Mix },
            formats,
            transcript,
        },
        bundle: wire.bundle,
        lane,
        tags: wire.tags,
        limits: limits.unwrap_or_default(),
        callback_url: wire.callback_url,
        output: wire.output,
        // A trace that cannot be read is no reason to lose a job.
        trace: wire.trace.and_then(|text| text.parse().ok()),
    };
    spec.check().map_err(|_| wrong())?;
    Ok(spec)
}

fn write_source(source: &SourceRef) -> SourceWire {
    // A digest that already stands in the address, as it does in the inbox, is not written twice.
    let text = source.sha256.map(|digest| digest.to_string());
    let sha256 = text.map(|text| if source.uri.matches(&text).count() == 1 { String::new() } else { text });
    SourceWire {
        uri: source.uri.clone(),
        sha256,
        bytes: source.bytes,
        duration_ms: source.duration.map(millis),
    }
}

fn read_source(wire: SourceWire) -> StoreResult<SourceRef> {
    let wrong = || unreadable("digest of a source", &wire.uri);
    let sha256 = match wire.sha256.as_deref() {
        None => None,
        Some("") => Some(digest_in(&wire.uri).ok_or_else(wrong)?.parse().map_err(|_| wrong())?),
        Some(text) => Some(text.parse().map_err(|_| wrong())?),
    };
    let duration = wire.duration_ms.map(Duration::from_millis);
    Ok(SourceRef { uri: wire.uri, sha256, bytes: wire.bytes, duration })
}

/// The last 64 hexadecimal digits in a row, as the key of an upload has them.
fn digest_in(uri: &str) -> Option<&str> {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    uri.rsplit(|c: char| !is_digit(c)).find(|run| run.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::spec::ContentDigest;
    use crate::job::trace::TraceContext;

    fn full() -> JobSpec {
        let digest = ContentDigest::of(b"audio");
        JobSpec {
            kind: JobKind::Enroll { name: "Ada L'Étoile".into(), more: vec![SourceRef::at("s3://b/2.wav")] },
            audio: SourceRef {
                uri: format!("s3://bucket/inbox/{digest}.flac"),
                sha256: Some(digest),
                bytes: Some(1 << 33),
                duration: Some(Duration::from_millis(312_480)),
            },
            options: Options {
                speakers: SpeakerCount::Between(None, Some(4)),
                channels: Channels::Separate,
                formats: DocumentFormat::ALL.to_vec(),
                transcript: Some(SourceRef {
                    sha256: Some(ContentDigest::of(b"t")),
                    ..SourceRef::at("https://h/t.json")
                }),
            },
            bundle: Some("starter@1".into()),
            lane: Lane::Low,
            tags: BTreeMap::from([("k".into(), "v\u{1F600}".into())]),
            limits: Limits { attempts_max: 1, crashes_max: 9, timeout: Duration::from_secs(60) },
            callback_url: Some("https://h/cb".into()),
            output: Some("s3://other/prefix/".into()),
            trace: TraceContext::new([0xab; 16], [1; 8], 1),
        }
    }

    #[test]
    fn specifications_survive() {
        let full = full();
        let text = String::from_utf8(write_spec(&full)).unwrap();
        assert_eq!(read_spec(&text, Lane::Low), Ok(full.clone()));
        let plain = JobSpec::diarize(SourceRef::at("file:///a.wav"));
        let text = String::from_utf8(write_spec(&plain)).unwrap();
        assert_eq!(text, r#"{"a":{"u":"file:///a.wav"}}"#);
        assert_eq!(read_spec(&text, Lane::Normal), Ok(plain.clone()));
        let strange = r#"{"a":{"u":"file:///a.wav"},"p":"not a trace"}"#;
        assert_eq!(read_spec(strange, Lane::Normal), Ok(plain));
        let mut twice = full;
        twice.audio.uri = format!("s3://{0}/{0}", ContentDigest::of(b"audio"));
        let text = String::from_utf8(write_spec(&twice)).unwrap();
        assert_eq!(read_spec(&text, Lane::Low), Ok(twice));
    }

    #[test]
    fn other_texts_are_unreadable() {
        for text in
            ["", "{}", "[]", r#"{"a":{"u":""}}"#, r#"{"a":{"u":"x","h":""}}"#, r#"{"a":{"u":"x"},"f":"pdf"}"#]
        {
            assert!(read_spec(text, Lane::High).is_err(), "{text}");
        }
    }
}
