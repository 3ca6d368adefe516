//! From a settled attempt's folder to the stable keys, and to where the submitter wants the documents besides.
//!
//! Only what is settled is exported: a document becomes visible after its job has completed, never before. Copying is
//! repeated safely, since the attempt's folder of a completed job never changes.
//!
//! A place of the submitter's that refuses for good (a bucket that is gone, rights that are missing) does not keep the job
//! from being over: its documents are at the stable keys, and its record says what was refused.

use std::time::Duration;

use super::side_by_side;
use crate::job::failure::FailureClass;
use crate::job::id::JobId;
use crate::job::lease::LeaseKey;
use crate::job::record::{JobRecord, StoredResult};
use crate::job::spec::{CacheKey, JobKind, JobSpec};
use crate::object_key;
use crate::port::job_store::{JobStore, JobStoreError};
use crate::port::object_store::{ObjectStore, StoreError};
use crate::speech::render::printable::at_most;

/// What a record says at most of a place that refused.
const PROBLEM_CHARS_MAX: usize = 500;

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

/// A document that is to be copied: from, to.
type Copying = (String, String);

/// What is to be copied to keys of the store.
#[must_use]
pub fn copies(record: &JobRecord) -> Vec<(String, String)> {
    let (Some(result), Some(from)) = (&record.result, object_key::result_source(record)) else {
        return Vec::new();
    };
    named(&from, record.id, &record.spec, result)
}

/// Every document to its stable key, and a voice that was learnt to its own.
fn named(from: &str, job: JobId, spec: &JobSpec, result: &StoredResult) -> Vec<(String, String)> {
    let names = result.documents.iter().map(|document| &document.name);
    let mut copies: Vec<_> =
        names.map(|name| (format!("{from}{name}"), object_key::document(job, name))).collect();
    let bundle =
        result.bundle.as_deref().map(|bundle| bundle.split_once('@').map_or(bundle, |(name, _)| name));
    if let (JobKind::Enroll { name, .. }, Some(bundle)) = (&spec.kind, bundle)
        && result.documents.iter().any(|document| document.name == object_key::VOICE_DOCUMENT)
    {
        let document = format!("{from}{}", object_key::VOICE_DOCUMENT);
        copies.push((document, object_key::voice(bundle, name)));
    }
    copies
}

/// Every document to the submitter's own place, when there is one.
fn outputs(from: &str, spec: &JobSpec, result: &StoredResult) -> Vec<Copying> {
    let Some(place) = &spec.output else { return Vec::new() };
    let place = place.trim_end_matches('/');
    let names = result.documents.iter().map(|document| &document.name);
    names.map(|name| (format!("{from}{name}"), format!("{place}/{name}"))).collect()
}

/// The key under which a result may serve other jobs: known once the content and the bundle are.
#[must_use]
pub fn cache_key(spec: &JobSpec, result: &StoredResult) -> Option<CacheKey> {
    let audio = result.audio_sha256.or(spec.audio.sha256)?;
    Some(CacheKey::of(spec, audio, result.bundle.as_deref()?)?.with_voices(result.voices))
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
    let from = object_key::attempt(key);
    let (inside, outside) = (named(&from, key.job, spec, result), outputs(&from, spec, result));
    carry_out(store, objects, key.job, (&inside, &outside), cache_key(spec, result)).await
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
    let outside = match (&record.result, object_key::result_source(record)) {
        (Some(result), Some(from)) => outputs(&from, &record.spec, result),
        _ => Vec::new(),
    };
    carry_out(store, objects, record.id, (&copies(record), &outside), cache).await
}

async fn carry_out(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    job: JobId,
    (inside, outside): (&[Copying], &[Copying]),
    cache: Option<CacheKey>,
) -> Result<(), ExportError> {
    for (from, to) in inside {
        objects.copy(from, to).await.map_err(ExportError::Objects)?;
    }
    let mut problem = None;
    for (from, to) in outside {
        match objects.copy_to(from, to).await {
            Ok(()) => {}
            Err(error) if error.class() == FailureClass::Permanent => {
                tracing::error!(%job, to, %error, "a document cannot be copied to where the submitter wants it");
                problem = Some(at_most(&format!("{to}: {error}"), PROBLEM_CHARS_MAX));
                break;
            }
            Err(error) => return Err(ExportError::Objects(error)),
        }
    }
    store.mark_exported(job, cache, problem.as_deref()).await.map_err(ExportError::JobStore)
}

/// Exports up to `n` jobs that were left over, side by side, so that a place that does not answer takes its time once; gives
/// how many, and the last error.
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
    let records = store.claim_exports(n, claim).await?;
    for outcome in
        side_by_side(records.iter().map(|record| from_record(store, objects, record)).collect()).await
    {
        match outcome {
            Ok(()) => exported += 1,
            Err(error) => failed = Some(error),
        }
    }
    Ok((exported, failed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::job::record::Document;
    use crate::job::spec::{ContentDigest, SourceRef};

    #[test]
    fn a_voice_goes_to_its_own_key_as_well() {
        let job = JobId::new(Timestamp::from_millis(0), [0; 16]);
        let document = |name: &str| Document { name: name.into(), bytes: 1, sha256: ContentDigest::of(b"x") };
        let result = StoredResult {
            documents: vec![document("voice.json")],
            audio: Duration::from_secs(1),
            audio_sha256: None,
            bundle: Some("starter@1.1.0".into()),
            voices: None,
        };
        let enroll = JobSpec::enroll("Ada", SourceRef::at("s3://b/a.wav"), vec![]);
        let to: Vec<_> = named("from/", job, &enroll, &result).into_iter().map(|(_, to)| to).collect();
        assert_eq!(to, [object_key::document(job, "voice.json"), "speakers/starter/Ada.json".to_owned()]);
        let mut diarize = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        assert_eq!(named("from/", job, &diarize, &result).len(), 1, "only who enrols makes a voice");
        assert_eq!(outputs("from/", &diarize, &result), []);
        for place in ["s3://mine/out", "s3://mine/out/"] {
            diarize.output = Some(place.to_owned());
            let copies = [("from/voice.json".to_owned(), "s3://mine/out/voice.json".to_owned())];
            assert_eq!(outputs("from/", &diarize, &result), copies, "{place}");
        }
    }
}
