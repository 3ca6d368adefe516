//! From a settled attempt's folder to the stable keys.
//!
//! Only what is settled is exported: a document becomes visible after its job has completed, never before. Copying is
//! repeated safely, since the attempt's folder of a completed job never changes.

use std::time::Duration;

use crate::job::lease::LeaseKey;
use crate::job::record::{JobRecord, StoredResult};
use crate::job::spec::{CacheKey, JobSpec};
use crate::object_key;
use crate::port::job_store::{JobStore, JobStoreError};
use crate::port::object_store::{ObjectStore, StoreError};

/// Why an export is not done yet; rescue repeats it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExportError {
    /// A document could not be copied.
    #[error("a document cannot be exported")]
    Objects(#[source] StoreError),
    /// The documents are there, but the record does not say so yet.
    #[error("the export cannot be noted")]
    JobStore(#[source] JobStoreError),
}

/// What is to be copied: from, to.
#[must_use]
pub fn copies(record: &JobRecord) -> Vec<(String, String)> {
    let (Some(result), Some(from)) = (&record.result, object_key::result_source(record)) else {
        return Vec::new();
    };
    named(&from, record.id, result)
}

fn named(from: &str, job: crate::job::id::JobId, result: &StoredResult) -> Vec<(String, String)> {
    let names = result.documents.iter().map(|document| &document.name);
    names.map(|name| (format!("{from}{name}"), object_key::document(job, name))).collect()
}

/// The key under which a result may serve other jobs: known once the content and the bundle are.
#[must_use]
pub fn cache_key(spec: &JobSpec, result: &StoredResult) -> Option<CacheKey> {
    let audio = result.audio_sha256.or(spec.audio.sha256)?;
    CacheKey::of(spec, audio, result.bundle.as_deref()?)
}

/// Exports what this worker has just settled under `key`.
///
/// # Errors
/// When a copy or the note fails; rescue will come back to it.
pub async fn settled(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    key: &LeaseKey,
    spec: &JobSpec,
    result: &StoredResult,
) -> Result<(), ExportError> {
    let copies = named(&object_key::attempt(key), key.job, result);
    carry_out(store, objects, key.job, &copies, cache_key(spec, result)).await
}

/// Exports a completed job from its record.
///
/// # Errors
/// When a copy or the note fails; the claim on it lapses.
pub async fn from_record(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    record: &JobRecord,
) -> Result<(), ExportError> {
    let cache = record.result.as_ref().and_then(|result| cache_key(&record.spec, result));
    carry_out(store, objects, record.id, &copies(record), cache).await
}

async fn carry_out(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    job: crate::job::id::JobId,
    copies: &[(String, String)],
    cache: Option<CacheKey>,
) -> Result<(), ExportError> {
    for (from, to) in copies {
        objects.copy(from, to).await.map_err(ExportError::Objects)?;
    }
    store.mark_exported(job, cache).await.map_err(ExportError::JobStore)
}

/// Exports up to `n` jobs that were left over; gives how many, and the last error.
///
/// # Errors
/// When the job store does not say which.
pub async fn pass(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    n: usize,
    claim: Duration,
) -> Result<(usize, Option<ExportError>), JobStoreError> {
    let (mut exported, mut failed) = (0, None);
    for record in store.claim_exports(n, claim).await? {
        match from_record(store, objects, &record).await {
            Ok(()) => exported += 1,
            Err(error) => failed = Some(error),
        }
    }
    Ok((exported, failed))
}
