//! A job's record as a document (contract, section 7). The order of the fields is the order in the document.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Timestamp;
use common::job::failure::{Failure, Stage};
use common::job::record::{JobRecord, JobState, StoredResult};
use common::job::spec::{Channels, JobKind, Options, SourceRef, SpeakerCount};
use common::object_key;
use serde::Serialize;
use utoipa::ToSchema;

/// A job's record.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordDocument<'a> {
    id: String,
    kind: &'static str,
    state: &'static str,
    #[schema(value_type = Option<String>)]
    stage: Option<Stage>,
    percent: u8,
    attempts: u32,
    crashes: u32,
    token: u64,
    worker: Option<&'a str>,
    priority: &'static str,
    #[schema(value_type = BTreeMap<String, String>)]
    tags: &'a BTreeMap<String, String>,
    audio: SourceDocument<'a>,
    bundle: Option<&'a str>,
    options: OptionsDocument<'a>,
    created_at: String,
    available_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    exported_at: Option<String>,
    /// Why the documents are not where `output` wants them; left out where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_problem: Option<&'a str>,
    cached_from: Option<String>,
    #[schema(value_type = Option<FailureDocument>)]
    failure: Option<&'a Failure>,
    result: Option<ResultDocument<'a>>,
}

/// A failure, as it is described.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the failure writes itself; this is its description")]
struct FailureDocument {
    /// A stable word.
    code: String,
    /// Where it happened.
    stage: String,
    /// `retryable`, `permanent` or `interrupted`.
    class: String,
    /// A sentence for a person.
    detail: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct SourceDocument<'a> {
    uri: &'a str,
    sha256: Option<String>,
    bytes: Option<u64>,
    duration_s: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OptionsDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_speakers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_speakers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_speakers: Option<u32>,
    channels: &'static str,
    formats: Vec<&'static str>,
    transcript: Option<&'a str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ResultDocument<'a> {
    /// Document name to its key in the store.
    #[schema(value_type = BTreeMap<String, String>)]
    keys: BTreeMap<&'a str, String>,
}

impl<'a> RecordDocument<'a> {
    /// The document of a record.
    #[must_use]
    pub fn new(record: &'a JobRecord) -> Self {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let spec = &record.spec;
        Self {
            id: record.id.to_string(),
            kind: kind(&spec.kind),
            state: record.state.as_str(),
            stage: record.progress.map(|progress| progress.stage),
            percent: percent(record),
            attempts: record.attempts,
            crashes: record.crashes,
            token: record.token,
            worker: record.worker.as_ref().map(|worker| worker.as_str()),
            priority: spec.lane.as_str(),
            tags: &spec.tags,
            audio: source(&spec.audio, record.result.as_ref()),
            bundle: record
                .result
                .as_ref()
                .and_then(|result| result.bundle.as_deref())
                .or(spec.bundle.as_deref()),
            options: options(&spec.options),
            created_at: record.created_at.to_string(),
            available_at: record.available_at.to_string(),
            started_at: time(record.started_at),
            completed_at: time(record.completed_at),
            exported_at: time(record.exported_at),
            output_problem: record.output_problem.as_deref(),
            cached_from: record.cached_from.map(|job| job.to_string()),
            failure: record.failure.as_ref(),
            result: record.result.as_ref().map(|result| ResultDocument { keys: keys(record, result) }),
        }
    }
}

/// The word for what a job does.
#[must_use]
pub fn kind(kind: &JobKind) -> &'static str {
    match kind {
        JobKind::Diarize => "diarize",
        JobKind::Enroll { .. } => "enroll",
    }
}

/// How far a job has come: a completed one all the way.
#[must_use]
pub fn percent(record: &JobRecord) -> u8 {
    if record.state == JobState::Completed {
        100
    } else {
        record.progress.map_or(0, |progress| progress.percent)
    }
}

/// Where the documents are to be read: at the stable keys once these exist.
#[must_use]
pub fn folder(record: &JobRecord) -> Option<String> {
    if record.exported_at.is_some() {
        Some(object_key::results(record.id))
    } else {
        object_key::result_source(record)
    }
}

fn keys<'a>(record: &JobRecord, result: &'a StoredResult) -> BTreeMap<&'a str, String> {
    let folder = folder(record).unwrap_or_default();
    result
        .documents
        .iter()
        .map(|document| (document.name.as_str(), format!("{folder}{}", document.name)))
        .collect()
}

fn source<'a>(audio: &'a SourceRef, result: Option<&StoredResult>) -> SourceDocument<'a> {
    let sha256 = audio.sha256.or(result.and_then(|result| result.audio_sha256));
    let duration = result.map(|result| result.audio).or(audio.duration);
    SourceDocument {
        uri: &audio.uri,
        sha256: sha256.map(|digest| digest.to_string()),
        bytes: audio.bytes,
        duration_s: duration.map(seconds),
    }
}

/// Seconds with three places.
#[must_use]
pub fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 1e3).round() / 1e3
}

fn options(options: &Options) -> OptionsDocument<'_> {
    let (num_speakers, min_speakers, max_speakers) = match options.speakers {
        SpeakerCount::Auto => (None, None, None),
        SpeakerCount::Exactly(count) => (Some(count), None, None),
        SpeakerCount::Between(min, max) => (None, min, max),
    };
    OptionsDocument {
        num_speakers,
        min_speakers,
        max_speakers,
        channels: match options.channels {
            Channels::Mix => "mix",
            Channels::Separate => "separate",
        },
        formats: options.formats.iter().map(|format| format.as_str()).collect(),
        transcript: options.transcript.as_ref().map(|transcript| transcript.uri.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use common::job::id::JobId;
    use common::job::record::Document;
    use common::job::spec::{ContentDigest, JobSpec};

    use super::*;

    fn record() -> JobRecord {
        let id = JobId::new(Timestamp::from_millis(0), [0; 16]);
        let audio = SourceRef { bytes: Some(7), ..SourceRef::at("s3://b/inbox/a.wav") };
        JobRecord::accepted(id, JobSpec::diarize(audio), Duration::ZERO, Timestamp::from_millis(0))
    }

    #[test]
    fn the_document_has_the_contracts_keys_in_its_order() {
        let text = serde_json::to_string(&RecordDocument::new(&record())).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"id":"00000000-0000-7000-8000-000000000000","kind":"diarize","state":"available","#,
                r#""stage":null,"percent":0,"attempts":0,"crashes":0,"token":0,"worker":null,"priority":"normal","#,
                r#""tags":{},"audio":{"uri":"s3://b/inbox/a.wav","sha256":null,"bytes":7,"duration_s":null},"#,
                r#""bundle":null,"options":{"channels":"mix","formats":["json","rttm","html"],"transcript":null},"#,
                r#""created_at":"1970-01-01T00:00:00.000Z","available_at":"1970-01-01T00:00:00.000Z","#,
                r#""started_at":null,"completed_at":null,"exported_at":null,"cached_from":null,"failure":null,"#,
                r#""result":null}"#
            )
        );
    }

    #[test]
    fn a_result_names_its_keys() {
        let mut record = record();
        let mut source = record.clone();
        source.id = JobId::new(Timestamp::from_millis(1), [1; 16]);
        let document =
            Document { name: "segments.json".to_owned(), bytes: 1, sha256: ContentDigest::new([0; 32]) };
        source.result = Some(StoredResult {
            documents: vec![document],
            audio: Duration::from_millis(12_345),
            audio_sha256: Some(ContentDigest::new([1; 32])),
            bundle: Some("starter@1".to_owned()),
            voices: None,
        });
        source.exported_at = Some(Timestamp::from_millis(5));
        record.complete_from(&source, Timestamp::from_millis(9));
        let value = serde_json::to_value(RecordDocument::new(&record)).unwrap();
        assert_eq!(value["result"]["keys"]["segments.json"], format!("results/{}/segments.json", source.id));
        record.exported_at = Some(Timestamp::from_millis(10));
        let value = serde_json::to_value(RecordDocument::new(&record)).unwrap();
        assert_eq!(value["result"]["keys"]["segments.json"], format!("results/{}/segments.json", record.id));
        assert_eq!((value["percent"].as_u64(), value["bundle"].as_str()), (Some(100), Some("starter@1")));
        assert_eq!(value["audio"]["duration_s"], 12.345);
        assert_eq!(value["cached_from"], source.id.to_string());
    }
}
