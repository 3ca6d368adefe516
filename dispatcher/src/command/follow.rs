//! Following jobs until nothing more happens to them.

use std::collections::BTreeMap;
use std::time::Duration;

use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::port::job_store::{JobStore, JobStoreError};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep};

use super::error::FleetError;
use super::jobs::records;

/// Looks at a time; they share one connection.
const AT_ONCE: usize = 64;
/// How long the job store may be away before following ends with an error.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// Whether all jobs completed.
#[must_use]
pub fn all_completed(records: &[JobRecord]) -> bool {
    records.iter().all(|record| record.state == JobState::Completed)
}

/// Looks at `jobs` until they are over; `seen` hears of every look at a job that is not over yet and of its end. Gives
/// the last records, in the order of `jobs`.
///
/// # Errors
/// When a job is not known, or the job store stays away.
pub async fn follow(
    store: &impl JobStore,
    jobs: &[JobId],
    seen: &mut dyn FnMut(&JobRecord),
) -> Result<Vec<JobRecord>, FleetError> {
    let first = records(store, jobs).await?;
    let mut last = BTreeMap::new();
    let mut open = Vec::new();
    for record in first {
        seen(&record);
        if !record.is_over() && !last.contains_key(&record.id) {
            open.push(record.id);
        }
        last.insert(record.id, record);
    }
    let mut away_since: Option<Instant> = None;
    while !open.is_empty() {
        sleep(pause(open.len())).await;
        let looks = open.iter().map(|job| async { (*job, store.get(*job).await) });
        let looks: Vec<_> = futures::stream::iter(looks).buffered(AT_ONCE).collect().await;
        let (mut gone, mut away) = (Vec::new(), None);
        open.clear();
        for (job, look) in looks {
            match look {
                Ok(Some(record)) => {
                    seen(&record);
                    if !record.is_over() {
                        open.push(job);
                    }
                    last.insert(job, record);
                }
                Ok(None) => gone.push(job),
                // A job store that restarts is waited for.
                Err(error @ JobStoreError::Unavailable { .. }) => {
                    open.push(job);
                    away = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !gone.is_empty() {
            return Err(FleetError::UnknownJobs { jobs: gone });
        }
        away_since = away.as_ref().map(|_| away_since.unwrap_or_else(Instant::now));
        if let (Some(error), Some(since)) = (away, away_since)
            && since.elapsed() > AWAY_MAX
        {
            return Err(error.into());
        }
    }
    Ok(jobs.iter().filter_map(|job| last.get(job).cloned()).collect())
}

/// Time between two looks: short for few jobs, so that a person sees movement; longer for many, so that the job store is
/// asked a few thousand times a second at most.
fn pause(jobs: usize) -> Duration {
    Duration::from_millis(match jobs {
        0..=20 => 100,
        21..=500 => 250,
        _ => 1000,
    })
}
