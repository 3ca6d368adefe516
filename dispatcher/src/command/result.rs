//! The result of a completed job, from the object store.

use bytes::Bytes;
use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::job::spec::DocumentFormat;
use common::port::job_store::JobStore;
use common::port::object_store::{ObjectStore, StoreError};
use common::speech::render;
use common::speech::render::html::{self, Sound};
use common::speech::result_document::Document;

use super::error::{FleetError, Said};
use crate::wire::record::folder;

/// Name of the document that the others are rendered from.
const DOCUMENT: &str = "segments.json";

/// The name under which a worker stores a format.
fn stored_name(format: DocumentFormat) -> &'static str {
    match format {
        DocumentFormat::Json => DOCUMENT,
        DocumentFormat::Rttm => "turns.rttm",
        DocumentFormat::Srt => "subtitles.srt",
        DocumentFormat::Vtt => "subtitles.vtt",
        DocumentFormat::Html => "timeline.html",
        DocumentFormat::Txt => "transcript.txt",
    }
}

/// The record of a job with a result.
///
/// # Errors
/// When the job is not known, or has no result.
pub async fn completed(store: &impl JobStore, job: JobId) -> Result<JobRecord, FleetError> {
    let record = store.get(job).await?.ok_or_else(|| FleetError::UnknownJobs { jobs: vec![job] })?;
    if record.state == JobState::Completed && record.result.is_some() {
        return Ok(record);
    }
    let failure =
        record.failure.as_ref().map(|failure| Said(format!("{}: {failure}", failure.code.as_str())));
    Err(FleetError::NoResult { job, state: record.state, failure })
}

/// What tells versions of a document apart: the digest of what it is, or is rendered from. `None` without a result.
#[must_use]
pub fn tag(record: &JobRecord, format: DocumentFormat) -> Option<String> {
    let documents = &record.result.as_ref()?.documents;
    let digest = |name: &str| documents.iter().find(|stored| stored.name == name).map(|stored| stored.sha256);
    if let Some(digest) = digest(stored_name(format)) {
        return Some(digest.to_string());
    }
    let source = digest(DOCUMENT)?;
    // What is rendered here depends on this program too.
    Some(format!("{source}-{}-{}", format.as_str(), env!("CARGO_PKG_VERSION")))
}

/// Where a document of a completed job comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is stored under this key.
    Stored(String),
    /// It is rendered from the document under this key.
    Rendered(String),
}

/// Where a document of a completed job comes from.
///
/// # Errors
/// [`FleetError::NoDocument`] when the job learnt a voice.
pub fn origin(record: &JobRecord, format: DocumentFormat) -> Result<Origin, FleetError> {
    let folder = folder(record).unwrap_or_default();
    let documents = record.result.iter().flat_map(|result| &result.documents);
    let stored = |name: &str| documents.clone().any(|stored| stored.name == name);
    match stored_name(format) {
        wanted if stored(wanted) => Ok(Origin::Stored(format!("{folder}{wanted}"))),
        _ if stored(DOCUMENT) => Ok(Origin::Rendered(format!("{folder}{DOCUMENT}"))),
        _ => Err(FleetError::NoDocument { job: record.id }),
    }
}

/// What an error means while a document of a job is read.
#[must_use]
pub fn unread(job: JobId, error: StoreError) -> FleetError {
    match error {
        // The stable keys may have gone with their retention while the attempt's own files are still there, or the
        // other way round: say which key was missing.
        error @ StoreError::NotFound { .. } => FleetError::Result { job, source: error },
        other => FleetError::of_result(job, other),
    }
}

/// A document of a completed job: as it was stored, or rendered from the stored `segments.json` when this format was not
/// asked for at submission.
///
/// # Errors
/// When the object store does not have it.
pub async fn document(
    objects: &impl ObjectStore,
    record: &JobRecord,
    format: DocumentFormat,
) -> Result<Bytes, FleetError> {
    let origin = origin(record, format)?;
    let (Origin::Stored(key) | Origin::Rendered(key)) = &origin;
    let bytes = objects.read(key, render::json::BYTES_MAX as u64).await;
    let bytes = bytes.map_err(|error| unread(record.id, error))?;
    match origin {
        Origin::Stored(_) => Ok(bytes),
        Origin::Rendered(_) => written(record, &bytes, format),
    }
}

/// A format of a job's document, given the stored one. Takes as long as reading and writing all of it.
///
/// # Errors
/// [`FleetError::Document`].
pub fn written(record: &JobRecord, stored: &[u8], format: DocumentFormat) -> Result<Bytes, FleetError> {
    let document =
        render::json::read(stored).map_err(|source| FleetError::Document { job: record.id, source })?;
    Ok(Bytes::from(rendered(&document, format, record.spec.stem())))
}

fn rendered(document: &Document, format: DocumentFormat, stem: &str) -> String {
    match format {
        DocumentFormat::Json => render::json::write(document),
        DocumentFormat::Rttm => render::rttm::write(stem, document),
        DocumentFormat::Srt => render::subtitles::srt(document),
        DocumentFormat::Vtt => render::subtitles::vtt(document),
        DocumentFormat::Html => html::write(document, stem, Sound::Absent),
        DocumentFormat::Txt => render::text::write(document),
    }
}
