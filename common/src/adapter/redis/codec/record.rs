//! A record from its hash and the strings beside it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::{read_digest, write_digest};
use super::spec::read_spec;
use super::unreadable;
use crate::clock::{Timestamp, millis};
use crate::job::failure::{Failure, Stage};
use crate::job::id::JobId;
use crate::job::record::{Document, JobRecord, JobState, Progress, StoredResult};
use crate::job::retry::worker_lost;
use crate::port::job_store::{JobStoreError, StoreResult};

/// What the scripts give of a job: id, hash, specification, failure, result.
pub type Raw = (String, BTreeMap<String, String>, Option<String>, Option<String>, Option<String>);

#[derive(Serialize, Deserialize)]
struct ResultWire {
    #[serde(rename = "d")]
    documents: Vec<(String, u64, String)>,
    #[serde(rename = "a")]
    audio_ms: u64,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    audio_sha256: Option<String>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    voices: Option<String>,
}

/// The contract's documents, written as `@` and their place: no legal name begins with `@`. Only ever added to.
const KNOWN: [&str; 7] = [
    "segments.json",
    "turns.rttm",
    "subtitles.srt",
    "subtitles.vtt",
    "timeline.html",
    "transcript.txt",
    "embeddings.npy",
];

fn short_name(name: &str) -> String {
    KNOWN.iter().position(|known| *known == name).map_or_else(|| name.to_owned(), |place| format!("@{place}"))
}

fn long_name(name: String) -> Option<String> {
    let Some(place) = name.strip_prefix('@') else { return Some(name) };
    KNOWN.get(place.parse::<usize>().ok()?).map(|known| (*known).to_owned())
}

/// The text of a result.
pub fn write_result(result: &StoredResult) -> Vec<u8> {
    let document = |d: &Document| (short_name(&d.name), d.bytes, write_digest(&d.sha256));
    let wire = ResultWire {
        documents: result.documents.iter().map(document).collect(),
        audio_ms: millis(result.audio),
        audio_sha256: result.audio_sha256.as_ref().map(write_digest),
        bundle: result.bundle.clone(),
        voices: result.voices.as_ref().map(write_digest),
    };
    serde_json::to_vec(&wire).expect("texts and numbers always have a JSON form")
}

fn read_result(text: &str) -> StoreResult<StoredResult> {
    let wrong = || unreadable("result", text);
    let wire: ResultWire = serde_json::from_str(text).map_err(|_| wrong())?;
    let document = |(name, bytes, sha256): (String, u64, String)| {
        Ok(Document {
            name: long_name(name).ok_or_else(wrong)?,
            bytes,
            sha256: read_digest(&sha256).ok_or_else(wrong)?,
        })
    };
    let result = StoredResult {
        documents: wire.documents.into_iter().map(document).collect::<StoreResult<_>>()?,
        audio: Duration::from_millis(wire.audio_ms),
        audio_sha256: wire.audio_sha256.map(|text| read_digest(&text).ok_or_else(wrong)).transpose()?,
        bundle: wire.bundle,
        voices: wire.voices.map(|text| read_digest(&text).ok_or_else(wrong)).transpose()?,
    };
    result.check().map_err(|_| wrong())?;
    Ok(result)
}

/// The text of progress: `decode:12`.
pub fn write_progress(progress: Progress) -> String {
    format!("{}:{}", stage_text(progress.stage), progress.percent.min(100))
}

fn read_progress(text: &str) -> StoreResult<Progress> {
    let wrong = || unreadable("progress", text);
    let (stage, percent) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Progress { stage: read_stage(stage)?, percent: percent.parse().map_err(|_| wrong())? })
}

fn stage_text(stage: Stage) -> String {
    let text = serde_json::to_string(&stage).expect("a stage is a word");
    text.trim_matches('"').to_owned()
}

fn read_stage(text: &str) -> StoreResult<Stage> {
    serde_json::from_str(&format!("\"{text}\"")).map_err(|_| unreadable("stage", text))
}

/// A failure: its JSON, or `lost:{crashes}:{progress}` for the last crash, which a script writes.
pub fn read_failure(text: &str) -> StoreResult<Failure> {
    let wrong = || unreadable("failure", text);
    let Some(lost) = text.strip_prefix("lost:") else {
        return serde_json::from_str(text).map_err(|_| wrong());
    };
    let (crashes, progress) = lost.split_once(':').ok_or_else(wrong)?;
    let stage = if progress.is_empty() { Stage::Fetch } else { read_progress(progress)?.stage };
    Ok(worker_lost(crashes.parse().map_err(|_| wrong())?, stage))
}

/// The short fields of a hash.
struct Fields<'a> {
    id: &'a str,
    hash: &'a BTreeMap<String, String>,
}

impl Fields<'_> {
    fn optional<T: FromStr>(&self, name: &str) -> StoreResult<Option<T>> {
        let Some(text) = self.hash.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(unreadable(&format!("job {} field {name}", self.id), text)),
        }
    }

    fn required<T: FromStr>(&self, name: &str) -> StoreResult<T> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    fn time(&self, name: &str) -> StoreResult<Option<Timestamp>> {
        Ok(self.optional(name)?.map(Timestamp::from_millis))
    }

    fn missing(&self, name: &str) -> JobStoreError {
        unreadable(&format!("job {} field {name}", self.id), "")
    }
}

/// The record that a script gave.
pub fn read_record(raw: &Raw) -> StoreResult<JobRecord> {
    let (id, hash, spec, failure, result) = raw;
    let fields = Fields { id, hash };
    let job: JobId = id.parse().map_err(|_| unreadable("job id", id))?;
    let state = hash.get("s").map_or("", String::as_str);
    let spec = spec.as_deref().ok_or_else(|| fields.missing("spec"))?;
    Ok(JobRecord {
        id: job,
        spec: read_spec(spec, fields.required("l")?)?,
        state: JobState::parse(state).ok_or_else(|| unreadable(&format!("job {id} state"), state))?,
        token: fields.required("k")?,
        nonce: fields.optional("n")?,
        worker: fields.optional("w")?,
        attempts: fields.optional("a")?.unwrap_or(0),
        crashes: fields.optional("c")?.unwrap_or(0),
        crashes_alone: fields.optional("o")?.unwrap_or(0),
        interruptions: fields.optional("i")?.unwrap_or(0),
        cancel_requested: hash.contains_key("q"),
        created_at: fields.time("cr")?.ok_or_else(|| fields.missing("cr"))?,
        available_at: fields.time("av")?.ok_or_else(|| fields.missing("av"))?,
        started_at: fields.time("st")?,
        lease_expires_at: fields.time("ex")?,
        completed_at: fields.time("co")?,
        exported_at: fields.time("xp")?,
        output_problem: fields.optional("op")?,
        progress: hash.get("p").map(|text| read_progress(text)).transpose()?,
        failure: failure.as_deref().map(read_failure).transpose()?,
        result: result.as_deref().map(read_result).transpose()?,
        cached_from: fields.optional("cf")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::failure::{FailureClass, FailureCode};
    use crate::job::spec::ContentDigest;

    #[test]
    fn results_and_failures_survive() {
        let result = StoredResult {
            documents: ["segments.json", "embeddings.npy", "voice.json"]
                .map(|name| Document { name: name.into(), bytes: 1 << 40, sha256: ContentDigest::of(b"x") })
                .to_vec(),
            audio: Duration::from_millis(1234),
            audio_sha256: Some(ContentDigest::of(b"a")),
            bundle: Some("starter@1".into()),
            voices: Some(ContentDigest::of(b"v")),
        };
        let text = String::from_utf8(write_result(&result)).unwrap();
        assert_eq!(read_result(&text), Ok(result));
        let failure = Failure {
            code: FailureCode::AudioCorrupt,
            stage: Stage::Decode,
            class: FailureClass::Permanent,
            detail: "\"broken\"\nat 3 s".into(),
        };
        assert_eq!(read_failure(&serde_json::to_string(&failure).unwrap()), Ok(failure));
        assert_eq!(read_failure("lost:5:decode:40"), Ok(worker_lost(5, Stage::Decode)));
        assert_eq!(read_failure("lost:1:"), Ok(worker_lost(1, Stage::Fetch)));
    }

    #[test]
    fn other_texts_are_unreadable() {
        for text in ["", "{}", "lost:", "lost:x:", "lost:1:nowhere:3"] {
            assert!(read_failure(text).is_err(), "{text}");
        }
        for text in [
            "",
            r#"{"d":[],"a":1}"#,
            r#"{"d":[["../x",1,"00"]],"a":1}"#,
            &format!(r#"{{"d":[["@7",1,"{}"]],"a":1}}"#, "A".repeat(43)),
        ] {
            assert!(read_result(text).is_err(), "{text}");
        }
    }
}
