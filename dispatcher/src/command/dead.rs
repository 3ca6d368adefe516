//! Dead letters: jobs that were given up.

use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::job::transition::Retried;
use common::port::broker::Broker;
use common::port::job_store::{JobFilter, JobStore, LIST_MAX};

use super::error::FleetError;
use super::jobs::{self, Again, Changed};

/// The newest dead letters, newest first.
///
/// # Errors
/// When the job store does not answer.
pub async fn list(store: &impl JobStore, limit: usize) -> Result<Vec<JobRecord>, FleetError> {
    jobs::list(store, JobFilter { state: Some(JobState::Discarded), limit, ..JobFilter::default() }).await
}

/// Which dead letters are meant: those named, or all up to [`LIST_MAX`].
///
/// # Errors
/// When the job store does not answer.
pub async fn meant(store: &impl JobStore, named: Vec<JobId>, all: bool) -> Result<Vec<JobId>, FleetError> {
    if !all {
        return Ok(named);
    }
    Ok(list(store, LIST_MAX).await?.iter().map(|record| record.id).collect())
}

/// Makes dead letters available again. A job that is not one is left alone and told.
///
/// # Errors
/// When the job store does not answer.
pub async fn requeue(
    store: &impl JobStore,
    broker: &impl Broker,
    named: &[JobId],
) -> Result<Again, FleetError> {
    let (dead, mut others) = (discarded(store, named).await?, Vec::new());
    let mut again = jobs::retry(store, broker, &dead.ids).await?;
    others
        .extend(dead.others.into_iter().map(|(job, state)| Changed { job, became: state.map(Retried::Not) }));
    again.jobs.extend(others);
    Ok(again)
}

/// What became of a dead letter that was to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// It is forgotten.
    Gone,
    /// It is no dead letter, but in this state.
    Not(JobState),
}

/// Forgets dead letters for good. A job that is not one is left alone and told.
///
/// # Errors
/// When the job store does not answer.
pub async fn purge(store: &impl JobStore, named: &[JobId]) -> Result<Vec<Changed<Purged>>, FleetError> {
    let dead = discarded(store, named).await?;
    let mut changed = Vec::new();
    for job in dead.ids {
        // Somebody may have requeued it since: what is not final is not purged.
        let became = match store.purge(job).await? {
            Some(true) => Some(Purged::Gone),
            Some(false) => store.get(job).await?.map(|record| Purged::Not(record.state)),
            None => None,
        };
        changed.push(Changed { job, became });
    }
    let not = |(job, state): (JobId, Option<JobState>)| Changed { job, became: state.map(Purged::Not) };
    changed.extend(dead.others.into_iter().map(not));
    Ok(changed)
}

struct Sorted {
    ids: Vec<JobId>,
    others: Vec<(JobId, Option<JobState>)>,
}

async fn discarded(store: &impl JobStore, named: &[JobId]) -> Result<Sorted, FleetError> {
    let mut sorted = Sorted { ids: Vec::new(), others: Vec::new() };
    for job in named {
        match store.get(*job).await?.map(|record| record.state) {
            Some(JobState::Discarded) => sorted.ids.push(*job),
            state => sorted.others.push((*job, state)),
        }
    }
    Ok(sorted)
}
