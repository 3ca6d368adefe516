//! Submitting a job that learns a known voice.

use common::job::id::JobId;
use common::job::spec::{JobSpec, SpecError};
use common::port::broker::Broker;
use common::port::job_store::{JobStore, NewJob};
use common::speech::voice;

use super::error::SubmitError;
use super::gather::{Found, Gatherer};
use super::{Event, Outcome, Ports, Submitted, Terms, bundle, name_file, reachable};
use crate::command::error::FleetError;
use crate::relay;

/// A voice to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// Whose it is.
    pub name: String,
    /// Recordings of the person: files, folders, `s3://`, `https://`.
    pub audio: Vec<String>,
    /// The bundle that is to learn it.
    pub bundle: Option<String>,
}

/// Uploads the recordings and submits one job for all of them.
///
/// # Errors
/// What is refused before the job is recorded; a queue that was not told is in the outcome.
pub async fn enroll<J: JobStore, B: Broker>(
    ports: &Ports<'_, J, B>,
    lesson: &Lesson,
    terms: &Terms,
    heard: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Outcome, SubmitError> {
    if !voice::is_voice_name(&lesson.name) {
        return Err(SpecError::VoiceName.into());
    }
    let (reached, rung) = futures::join!(ports.jobs.workers(), ports.broker.assert_topology());
    let workers = reached.map_err(FleetError::from)?;
    rung.map_err(FleetError::from)?;
    if let Some(wish) = &lesson.bundle {
        bundle::check(ports.objects, &workers, wish).await?;
    }
    let gatherer = Gatherer { store: ports.objects, reach: &terms.reach, recursive: terms.recursive };
    let mut found = Vec::new();
    for audio in &lesson.audio {
        found.extend(gatherer.gather(audio).await?);
    }
    if found.len() > voice::RECORDINGS_MAX {
        return Err(SubmitError::TooMany { most: voice::RECORDINGS_MAX });
    }
    let mut sources = Vec::new();
    for found in &found {
        sources.push(reachable(ports, found, terms, heard).await?.1);
    }
    let more = sources.split_off(sources.len().min(1));
    let Some(audio) = sources.pop() else {
        return Err(SubmitError::Nothing { name: lesson.audio.join(" "), shallow: !terms.recursive });
    };
    let mut tags = std::collections::BTreeMap::new();
    if let Some(Found::File { path }) = found.first() {
        name_file(&mut tags, &path.file_name().unwrap_or_default().to_string_lossy());
    }
    let spec = JobSpec { bundle: lesson.bundle.clone(), tags, ..JobSpec::enroll(&lesson.name, audio, more) };
    spec.check()?;
    let job = NewJob {
        id: JobId::new(ports.clock.now(), ports.random.bytes()),
        delay: std::time::Duration::ZERO,
        idempotency: None,
        cache: None,
        force: terms.force,
        spec,
    };
    let lanes = [job.spec.lane].into();
    let inserted = ports.jobs.insert(job).await.map_err(FleetError::from)?;
    heard(Event::Done);
    let silent = relay::ring(ports.jobs, ports.broker, &lanes).await.map_err(FleetError::from)?;
    let submitted = vec![Submitted { name: lesson.name.clone(), inserted }];
    Ok(Outcome { submitted, stopped: None, silent, is_alone: workers.is_empty() })
}
