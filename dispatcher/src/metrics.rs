//! `GET /metrics` of `rollcall serve`: the queue as the job store sees it now, and what this process has counted.

use std::time::Duration;

use common::job::lane::Lane;
use common::port::job_store::{JobStore, QueueStatus};
use common::telemetry::catalogue as names;
use common::telemetry::exposition::Exposition;
use common::telemetry::metrics;
use tokio::time::timeout;

/// Longest wait for the job store: a scraper gives up after 10 s by default.
const PATIENCE: Duration = Duration::from_secs(5);

/// The page. Where the job store does not answer, the queue's metrics are absent: an old number would be taken for a new
/// one.
pub async fn scrape(jobs: &impl JobStore) -> String {
    let status = timeout(PATIENCE, jobs.status()).await.ok().and_then(Result::ok);
    let mut now = Exposition::default();
    now.count(&names::JOB_STORE_UP, &[], u64::from(status.is_some()));
    if let Some(status) = status {
        tell(&mut now, &status);
    }
    metrics::page(now)
}

fn tell(page: &mut Exposition, status: &QueueStatus) {
    for lane in Lane::ALL {
        let depth = status.lane(lane);
        for (state, jobs) in [
            ("available", depth.ready),
            ("scheduled", depth.scheduled),
            ("retryable", depth.retryable),
            ("running", depth.running),
        ] {
            page.count(&names::JOBS, &[state, lane.as_str()], jobs);
        }
    }
    for (metric, count) in [
        (names::OUTBOX, status.outbox()),
        (names::DEAD, status.dead),
        (names::EXPORTS, status.exports),
        (names::OVERDUE_EXPORTS, status.exports_overdue),
        (names::WEBHOOKS, status.webhooks),
        (names::WORKERS_ALIVE, status.workers_alive),
        (names::WORKERS_WANTED, status.workers_wanted()),
    ] {
        page.count(&metric, &[], count);
    }
    let age = |age: Option<Duration>| age.unwrap_or_default().as_secs_f64();
    for (metric, value) in [
        (names::AUDIO_WAITING, status.audio_waiting_estimate().as_secs_f64()),
        (names::OLDEST_JOB, age(status.oldest)),
        (names::OUTBOX_AGE, age(status.outbox_oldest)),
        (names::ARRIVED, status.arrived_per_s),
        (names::COMPLETED, status.completed_per_s),
        (names::COMPLETED_AUDIO, status.audio_s_per_s),
        (names::WORKER_CAPACITY, status.load.capacity),
    ] {
        page.sample(&metric, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::adapter::memory::job_store::MemoryJobStore;
    use common::clock::{ManualClock, Timestamp};
    use common::job::id::JobId;
    use common::job::spec::{JobSpec, SourceRef};
    use common::port::job_store::{NewJob, StoreRules};
    use common::telemetry::lint;

    use super::*;

    #[tokio::test]
    async fn the_page_tells_the_queue_by_the_conventions() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_000_000));
        let store = MemoryJobStore::new(Arc::new(clock.clone()), StoreRules::default());
        let mut spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        (spec.lane, spec.audio.duration) = (Lane::High, Some(Duration::from_secs(90)));
        store.insert(NewJob::new(JobId::new(Timestamp::from_millis(1), [1; 16]), spec)).await.unwrap();
        clock.advance(Duration::from_secs(3));
        let page = scrape(&store).await;
        assert_eq!(lint::problems(&page), [""; 0], "{page}");
        for line in [
            "rollcall_job_store_up 1",
            "rollcall_jobs{state=\"available\",priority=\"high\"} 1",
            "rollcall_jobs{state=\"running\",priority=\"low\"} 0",
            "rollcall_audio_waiting_seconds 90",
            "rollcall_oldest_job_age_seconds 3",
            "rollcall_outbox_notices 1",
            "rollcall_outbox_age_seconds 3",
            "rollcall_workers_alive 0",
            "rollcall_workers_wanted 1",
            "rollcall_dead_jobs 0",
        ] {
            assert!(page.lines().any(|told| told == line), "{line}\n{page}");
        }
    }
}
