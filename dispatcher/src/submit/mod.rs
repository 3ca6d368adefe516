//! The use case of submitting: from arguments to accepted jobs whose bells have rung.
//!
//! Everything that can be refused is refused before anything is changed: services, arguments, sizes, transcripts,
//! bundles. Then recordings are uploaded and recorded a few at a time, and each batch's bells are published.

pub mod bundle;
mod check;
pub mod enroll;
pub mod error;
pub mod gather;
pub mod manifest;
pub mod source;
pub mod upload;

use std::collections::BTreeMap;
use std::path::Path;

use common::adapter::store::UrlStore;
use common::clock::Clock;
use common::fleet::{export, voices};
use common::job::digest::ContentDigest;
use common::job::id::JobId;
use common::job::record::JobRecord;
use common::job::spec::{CacheKey, FILE_TAG, JobSpec, SourceRef, TAG_VALUE_BYTES_MAX, TAGS_MAX};
use common::object_key;
use common::port::broker::{Broker, BrokerError};
use common::port::job_store::{Idempotency, Inserted, JobStore, NewJob};
use common::random::Random;
use common::reach::Reach;
use common::speech::transcript;
use common::telemetry::{TRACED, spans};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::command::error::FleetError;
use crate::relay;
use crate::wire::request::{JobRequest, Wishes};

pub use check::check;

use error::SubmitError;
use gather::{Found, Gatherer, RECORDINGS_MAX};

/// Recordings that are read, uploaded and recorded at a time.
const AT_ONCE: usize = 4;
/// Recordings after which bells are rung.
const BATCH: usize = 64;

/// What a submission goes by besides its jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Whether to go below folders and prefixes.
    pub recursive: bool,
    /// Whether earlier results may serve.
    pub cache: bool,
    /// Whether to accept content that made workers vanish.
    pub force: bool,
    /// What jobs may name.
    pub reach: Reach,
    /// Whether webhooks can be signed.
    pub signs_webhooks: bool,
}

/// Where a submission goes.
pub struct Ports<'a, J, B> {
    /// Job records.
    pub jobs: &'a J,
    /// The queue.
    pub broker: &'a B,
    /// Audio and results.
    pub objects: &'a UrlStore,
    /// Clock and randomness for ids.
    pub clock: &'a dyn Clock,
    /// Likewise.
    pub random: &'a dyn Random,
}

/// What happens while a submission goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A file is being sent.
    Uploading {
        /// Its name.
        name: &'a str,
        /// Its size.
        bytes: u64,
    },
    /// A recording has its job, or was refused.
    Done,
}

/// One recording, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Path or address, as given or found.
    pub name: String,
    /// What the job store answered.
    pub inserted: Inserted,
}

/// What became of a submission.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Every recording that came to the job store, in the order given.
    pub submitted: Vec<Submitted>,
    /// What stopped the rest, when something did.
    pub stopped: Option<SubmitError>,
    /// Why bells did not ring, when they did not: the jobs are recorded, and others ring for them.
    pub silent: Option<BrokerError>,
    /// Whether no worker was alive.
    pub is_alone: bool,
}

/// A recording with what is wanted of it.
struct Wanted {
    found: Found,
    wishes: Wishes,
    transcript: Option<SourceRef>,
    /// Whether another one has the same idempotency key, so that each needs one of its own.
    shares_key: bool,
    /// Whether another one's documents go to the same place, so that each needs a folder there.
    shares_output: bool,
}

/// Submits the recordings of `requests`.
///
/// # Errors
/// Everything that is found before anything is recorded; later errors are in the outcome.
pub async fn submit<J: JobStore, B: Broker>(
    ports: &Ports<'_, J, B>,
    requests: Vec<JobRequest>,
    terms: &Terms,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Outcome, SubmitError> {
    let (reached, rung) = futures::join!(ports.jobs.workers(), ports.broker.assert_topology());
    let workers = reached.map_err(FleetError::from)?;
    rung.map_err(FleetError::from)?;
    let mut expected = BTreeMap::new();
    for request in &requests {
        check(&request.wishes, terms)?;
        let wish = request.wishes.bundle.clone();
        if let Some(wish) = wish.as_deref().filter(|wish| !expected.contains_key(&Some((*wish).to_owned()))) {
            bundle::check(ports.objects, &workers, wish).await?;
        }
        if !expected.contains_key(&wish) {
            let version = bundle::expected(&workers, wish.as_deref()).version;
            expected.insert(wish.clone(), known(ports.objects, version, terms).await?);
        }
    }
    let wanted = gather_all(ports, requests, terms, heard).await?;

    let mut outcome = Outcome { is_alone: workers.is_empty(), ..Outcome::default() };
    let mut rest = wanted.into_iter().peekable();
    while rest.peek().is_some() && outcome.stopped.is_none() {
        let batch: Vec<_> = rest.by_ref().take(BATCH).collect();
        let lanes = batch.iter().map(|wanted| wanted.wishes.lane.unwrap_or_default()).collect();
        let known = |wanted: &Wanted| expected.get(&wanted.wishes.bundle).and_then(Option::as_ref);
        // Boxed, so that the whole can go to another thread: the compiler cannot tell it of a closure over references.
        let jobs: Vec<_> =
            batch.iter().map(|wanted| one(ports, wanted, known(wanted), terms, heard).boxed()).collect();
        let mut answers = futures::stream::iter(jobs).buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(submitted) => outcome.submitted.push(submitted),
                // Those under way beside it still count.
                Err(error) => outcome.stopped = outcome.stopped.or(Some(error)),
            }
        }
        drop(answers);
        match relay::ring(ports.jobs, ports.broker, &lanes).await {
            Ok(silent) => outcome.silent = silent.or(outcome.silent),
            Err(error) => outcome.stopped = outcome.stopped.or(Some(FleetError::from(error).into())),
        }
    }
    Ok(outcome)
}

/// What an earlier result has to have been made with to serve.
struct Known {
    /// `NAME@VERSION`.
    bundle: String,
    /// What names the voices that are enrolled for it now.
    voices: Option<ContentDigest>,
}

/// The voices of the bundle that jobs will meet, where the cache is asked at all.
async fn known(
    objects: &UrlStore,
    bundle: Option<String>,
    terms: &Terms,
) -> Result<Option<Known>, SubmitError> {
    let Some(bundle) = bundle.filter(|_| terms.cache) else { return Ok(None) };
    let name = bundle.split_once('@').map_or(bundle.as_str(), |(name, _)| name);
    let (listed, _) = voices::listed(objects, name).await.map_err(FleetError::of_store)?;
    Ok(Some(Known { voices: voices::digest(&listed), bundle }))
}

/// Finds every recording, and reads and uploads the transcripts.
async fn gather_all<J, B>(
    ports: &Ports<'_, J, B>,
    requests: Vec<JobRequest>,
    terms: &Terms,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Vec<Wanted>, SubmitError> {
    let gatherer = Gatherer { store: ports.objects, reach: &terms.reach, recursive: terms.recursive };
    let mut all = Vec::new();
    for JobRequest { audio, wishes } in requests {
        let found = gatherer.gather(&audio).await?;
        if wishes.transcript.is_some() && found.len() > 1 {
            return Err(SubmitError::TranscriptForMany { recordings: found.len() });
        }
        all.extend(found.into_iter().map(|found| (found, wishes.clone())));
        if all.len() > RECORDINGS_MAX {
            return Err(SubmitError::TooMany { most: RECORDINGS_MAX });
        }
    }
    let keys = &users(all.iter().filter_map(|(_, wishes)| wishes.idempotency_key.as_deref()));
    let outputs = &users(all.iter().filter_map(|(_, wishes)| wishes.output.as_deref().map(folder)));
    let with_transcript = |(found, wishes): (Found, Wishes)| async move {
        let transcript = match &wishes.transcript {
            None => None,
            Some(text) => Some(transcript_source(ports, terms, text, heard).await?),
        };
        let shared = |users: &BTreeMap<String, usize>, what: Option<&str>| {
            what.and_then(|what| users.get(what)).is_some_and(|users| *users > 1)
        };
        let shares_key = shared(keys, wishes.idempotency_key.as_deref());
        let shares_output = shared(outputs, wishes.output.as_deref().map(folder));
        Ok(Wanted { found, wishes, transcript, shares_key, shares_output })
    };
    futures::stream::iter(all).map(with_transcript).buffered(AT_ONCE).try_collect().await
}

/// How many recordings have the same wish.
fn users<'a>(wishes: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut users = BTreeMap::new();
    wishes.for_each(|wish| *users.entry(wish.to_owned()).or_default() += 1);
    users
}

/// A place without what it may end in.
fn folder(output: &str) -> &str {
    output.trim_end_matches('/')
}

/// A transcript that workers can reach: a local one is read, so that a wrong file is told at once, and uploaded.
async fn transcript_source<J, B>(
    ports: &Ports<'_, J, B>,
    terms: &Terms,
    text: &str,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<SourceRef, SubmitError> {
    let gatherer = Gatherer { store: ports.objects, reach: &terms.reach, recursive: false };
    match gatherer.gather(text).await?.swap_remove(0) {
        Found::Web { uri } => Ok(SourceRef::at(uri)),
        Found::Object { uri, bytes } => {
            keep_upload(ports, terms, &uri, bytes).await?;
            Ok(SourceRef { bytes: Some(bytes), ..SourceRef::at(uri) })
        }
        Found::File { path } => {
            let limits = transcript::Limits::default();
            let unreadable = |source| SubmitError::Unreadable { path: path.clone(), source };
            let unusable = |source| SubmitError::Transcript { name: path.display().to_string(), source };
            let size = std::fs::metadata(&path).map_err(unreadable)?.len();
            let bytes = usize::try_from(size).unwrap_or(usize::MAX);
            if bytes > limits.bytes_max {
                return Err(unusable(transcript::TranscriptError::TooLarge { bytes, max: limits.bytes_max }));
            }
            let content = tokio::fs::read(&path).await.map_err(unreadable)?;
            transcript::read(&content, limits).map_err(unusable)?;
            send(ports, terms, &path, heard).await
        }
    }
}

async fn send<J, B>(
    ports: &Ports<'_, J, B>,
    terms: &Terms,
    path: &Path,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<SourceRef, SubmitError> {
    let name = path.display().to_string();
    let begins = |bytes| heard(Event::Uploading { name: &name, bytes });
    let uploaded =
        upload::upload(ports.objects, terms.reach.store(), path, ports.clock.now(), &begins).await?;
    Ok(uploaded.source)
}

async fn one<J: JobStore, B>(
    ports: &Ports<'_, J, B>,
    wanted: &Wanted,
    known: Option<&Known>,
    terms: &Terms,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Submitted, SubmitError> {
    let mut wishes = wanted.wishes.clone();
    let (name, audio) = reachable(ports, &wanted.found, terms, heard).await?;
    if let Found::File { path } = &wanted.found {
        name_file(&mut wishes.tags, &path.file_name().unwrap_or_default().to_string_lossy());
    }
    let key = wishes.idempotency_key.take();
    let id = JobId::new(ports.clock.now(), ports.random.bytes());
    if let Some(output) = wishes.output.take() {
        let output = folder(&output);
        wishes.output =
            Some(if wanted.shares_output { format!("{output}/{id}/") } else { format!("{output}/") });
    }
    let span = tracing::error_span!(target: TRACED, "submit", job = %id, trace_id = Empty);
    spans::join(&span, None);
    let trace = spans::context(&span);
    let spec = JobSpec { trace, ..wishes.spec(audio, wanted.transcript.clone())? };
    let idempotency = key.map(|key| own_key(&key, wanted.shares_key, &spec.audio)).transpose()?;
    let cached = spec.audio.sha256.zip(known).and_then(|(digest, known)| {
        Some(CacheKey::of(&spec, digest, &known.bundle)?.with_voices(known.voices))
    });
    let job = NewJob {
        id,
        delay: wishes.delay.unwrap_or_default(),
        idempotency,
        cache: cached,
        force: terms.force,
        spec,
    };
    let inserting = ports.jobs.insert(job).instrument(span);
    let inserted = match inserting.await.map_err(FleetError::from)? {
        Inserted::Cached(record) => Inserted::Cached(exported(ports, record).await?),
        other => other,
    };
    heard(Event::Done);
    Ok(Submitted { name, inserted })
}

/// A recording that workers can reach, and what to call it: a local one is uploaded.
async fn reachable<J, B>(
    ports: &Ports<'_, J, B>,
    found: &Found,
    terms: &Terms,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<(String, SourceRef), SubmitError> {
    Ok(match found {
        Found::File { path } => (path.display().to_string(), send(ports, terms, path, heard).await?),
        Found::Object { uri, bytes } => {
            keep_upload(ports, terms, uri, *bytes).await?;
            let sha256 = terms.reach.store().key(uri).and_then(digest_in_key);
            (uri.clone(), SourceRef { sha256, bytes: Some(*bytes), ..SourceRef::at(uri.clone()) })
        }
        Found::Web { uri } => (uri.clone(), SourceRef::at(uri.clone())),
    })
}

/// Marks an upload as used when it is named by its address: its time in the inbox begins anew.
async fn keep_upload<J, B>(
    ports: &Ports<'_, J, B>,
    terms: &Terms,
    uri: &str,
    bytes: u64,
) -> Result<(), SubmitError> {
    let key = terms.reach.store().key(uri).filter(|key| key.starts_with(object_key::INBOX));
    let Some(key) = key else { return Ok(()) };
    let kept = upload::keep(ports.objects, key, bytes, ports.clock.now()).await;
    if kept.map_err(FleetError::of_store)? {
        Ok(())
    } else {
        Err(SubmitError::Missing { uri: uri.to_owned() })
    }
}

/// Exports what a job took from another, so that whoever asked has it now, also where no worker lives. What fails, a
/// rescuer repeats.
async fn exported<J: JobStore, B>(
    ports: &Ports<'_, J, B>,
    record: JobRecord,
) -> Result<JobRecord, SubmitError> {
    if let Err(error) = export::from_record(ports.jobs, ports.objects, &record).await {
        tracing::warn!(job = %record.id, %error, "the result is left to a rescuer");
        return Ok(record);
    }
    Ok(ports.jobs.get(record.id).await.map_err(FleetError::from)?.unwrap_or(record))
}

/// A submitter's key for one of several recordings is joined with its content, so that each has its own and a repetition
/// finds it whatever the order.
fn own_key(key: &str, shared: bool, audio: &SourceRef) -> Result<Idempotency, SubmitError> {
    if !shared {
        return Ok(Idempotency::new(key)?);
    }
    // As a digest it keeps the bound on keys, however long the submitter's is.
    let joined = ContentDigest::of(format!("{key}\n{}", audio.content()).as_bytes());
    Ok(Idempotency::new(&joined.to_string())?)
}

/// Keeps the name of an uploaded file, whose key is its digest, as a tag, where there is one and room for it.
pub fn name_file(tags: &mut BTreeMap<String, String>, name: &str) {
    if tags.len() < TAGS_MAX && (1..=TAG_VALUE_BYTES_MAX).contains(&name.len()) {
        tags.entry(FILE_TAG.to_owned()).or_insert_with(|| name.to_owned());
    }
}

/// The digest that the key of an uploaded object is.
fn digest_in_key(key: &str) -> Option<ContentDigest> {
    let name = key.strip_prefix(object_key::INBOX)?;
    name.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests;
