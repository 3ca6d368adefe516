//! Looking at jobs, stopping them, trying them again.

use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::record::JobRecord;
use common::job::transition::{Cancel, Retried};
use common::port::broker::{Broker, BrokerError};
use common::port::job_store::{JobFilter, JobStore, StoreResult};
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::FleetError;
use crate::relay;

/// Records that are asked for at a time; they share one connection.
const AT_ONCE: usize = 64;

/// The records of `jobs`, in their order.
///
/// # Errors
/// [`FleetError::UnknownJobs`] names all that are not known.
pub async fn records(store: &impl JobStore, jobs: &[JobId]) -> Result<Vec<JobRecord>, FleetError> {
    let answers = jobs.iter().map(|job| store.get(*job));
    let found: Vec<_> = futures::stream::iter(answers).buffered(AT_ONCE).try_collect().await?;
    let unknown: Vec<_> =
        jobs.iter().zip(&found).filter(|(_, record)| record.is_none()).map(|(job, _)| *job).collect();
    if unknown.is_empty() {
        Ok(found.into_iter().flatten().collect())
    } else {
        Err(FleetError::UnknownJobs { jobs: unknown })
    }
}

/// The newest jobs that pass, newest first, however many have to be looked at for them.
///
/// # Errors
/// When the job store does not answer.
pub async fn list(store: &impl JobStore, mut filter: JobFilter) -> Result<Vec<JobRecord>, FleetError> {
    let mut found = Vec::new();
    loop {
        let page = store.list(filter.clone()).await?;
        filter.limit = filter.limit.saturating_sub(page.jobs.len());
        found.extend(page.jobs);
        match page.next {
            Some(next) if filter.limit > 0 => filter.before = Some(next),
            _ => return Ok(found),
        }
    }
}

/// What became of one job of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    /// The job.
    pub job: JobId,
    /// What became of it; `None` when it is not known.
    pub became: Option<T>,
}

/// Stops jobs; each is tried, whatever became of the others.
///
/// # Errors
/// When the job store does not answer.
pub async fn cancel(store: &impl JobStore, jobs: &[JobId]) -> Result<Vec<Changed<Cancel>>, FleetError> {
    let cancels = jobs.iter().map(|job| async move {
        store.request_cancel(*job).await.map(|became| Changed { job: *job, became })
    });
    Ok(futures::stream::iter(cancels).buffered(AT_ONCE).try_collect().await?)
}

/// Jobs tried again, and why their bells did not ring, when they did not.
#[derive(Debug)]
pub struct Again {
    /// What became of each.
    pub jobs: Vec<Changed<Retried>>,
    /// Why the queue does not know of them yet.
    pub silent: Option<FleetError>,
}

/// Makes discarded and cancelled jobs available again and rings for them.
///
/// # Errors
/// When the job store does not answer.
pub async fn retry(store: &impl JobStore, broker: &impl Broker, jobs: &[JobId]) -> Result<Again, FleetError> {
    let one = |job: JobId| async move { store.retry(job).await.map(|became| Changed { job, became }) };
    let retries: Vec<_> = jobs.iter().map(|job| one(*job)).collect();
    let jobs: Vec<_> = futures::stream::iter(retries).buffered(AT_ONCE).try_collect().await?;
    let any = jobs.iter().any(|changed| matches!(changed.became, Some(Retried::Done)));
    // They are available, whatever becomes of their bells: those are rung by whoever relays next.
    let silent = if any { silent(relay::ring(store, broker, &Lane::ALL.into()).await) } else { None };
    Ok(Again { jobs, silent })
}

/// Why a bell did not ring, when it did not.
fn silent(rung: StoreResult<Option<BrokerError>>) -> Option<FleetError> {
    match rung {
        Ok(error) => error.map(FleetError::from),
        Err(error) => Some(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use common::port::job_store::JobStoreError;

    use super::*;

    #[test]
    fn a_bell_that_fails_is_told_and_fails_nothing() {
        let endpoint = || "redis://h:1".to_owned();
        let away = || JobStoreError::Unavailable { endpoint: endpoint(), detail: String::new() };
        assert!(matches!(silent(Err(away())), Some(FleetError::Unreachable { .. })));
        let refused = BrokerError::Refused { endpoint: endpoint(), detail: String::new() };
        assert!(matches!(silent(Ok(Some(refused))), Some(FleetError::Refused { .. })));
        assert!(silent(Ok(None)).is_none());
    }
}
