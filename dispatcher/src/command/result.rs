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
use crate::submit::shown_name;
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
    let folder = folder(record).unwrap_or_default();
    let stored = |name: &str| {
        record.result.as_ref().is_some_and(|result| result.documents.iter().any(|stored| stored.name == name))
    };
    let wanted = stored_name(format);
    let name = if stored(wanted) { wanted } else { DOCUMENT };
    let read = objects.read(&format!("{folder}{name}"), render::json::BYTES_MAX as u64).await;
    let bytes = match read {
        // The stable keys may have gone with their retention while the attempt's own files are still there, or the
        // other way round: say which key was missing.
        Err(error @ StoreError::NotFound { .. }) => {
            return Err(FleetError::Result { job: record.id, source: error });
        }
        other => other.map_err(|error| FleetError::of_result(record.id, error))?,
    };
    if name == wanted {
        return Ok(bytes);
    }
    let document =
        render::json::read(&bytes).map_err(|source| FleetError::Document { job: record.id, source })?;
    Ok(Bytes::from(rendered(&document, format, shown_name(record))))
}

fn rendered(document: &Document, format: DocumentFormat, name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    match format {
        DocumentFormat::Json => render::json::write(document),
        DocumentFormat::Rttm => render::rttm::write(stem, document),
        DocumentFormat::Srt => render::subtitles::srt(document),
        DocumentFormat::Vtt => render::subtitles::vtt(document),
        DocumentFormat::Html => html::write(document, stem, Sound::Absent),
        DocumentFormat::Txt => render::text::write(document),
    }
}
