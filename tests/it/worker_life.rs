//! A worker of the fleet on real servers, from submission to export and from SIGTERM to its end, in both queue modes.

use std::time::{Duration, Instant};

use common::job::failure::FailureCode;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::port::job_store::JobStore as _;
use rustix::process::Signal;
use tests::fleet::{Fleet, PATIENCE, Queue};
use tests::noop::{DOCUMENT, END, WELL_FROM, WORK_MS};

/// A run for each queue.
macro_rules! in_both_modes {
    ($($name:ident),* $(,)?) => {
        mod amqp {
            $(#[tokio::test] async fn $name() { super::$name(super::Queue::Amqp).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $name() { super::$name(super::Queue::Redis).await; })*
        }
    };
}

in_both_modes!(
    a_job_completes_and_is_exported,
    failures_are_counted_and_end,
    a_running_job_is_cancelled_within_two_seconds,
    sigterm_lets_short_jobs_finish_and_hands_long_ones_back,
);

async fn a_job_completes_and_is_exported(queue: Queue) {
    let fleet = Fleet::start(queue).await;
    let _worker = fleet.worker("worker", &[]);
    let mut jobs = Vec::new();
    for lane in Lane::ALL {
        let mut spec = JobSpec::diarize(SourceRef::at("s3://nobody/reads.this"));
        spec.lane = lane;
        jobs.push(fleet.submit(spec).await);
    }
    for job in jobs {
        let record = fleet.ended(job).await;
        assert_eq!((record.state, record.token, record.attempts), (JobState::Completed, 1, 0));
        let [document] = &record.result.as_ref().unwrap().documents[..] else { panic!("{record:?}") };
        let stored = fleet.document(job, DOCUMENT).await.unwrap();
        assert_eq!(ContentDigest::of(&stored), document.sha256);
        assert_eq!(stored.len() as u64, document.bytes);
    }
    let workers = fleet.store.workers().await.unwrap();
    assert_eq!(workers.len(), 1);
    assert_eq!((workers[0].info.slots, workers[0].info.draining), (64, false));
    let until = Instant::now() + PATIENCE;
    while fleet.store.status().await.unwrap().outbox() > 0 {
        assert!(Instant::now() < until, "a bell that was rung stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn failures_are_counted_and_end(queue: Queue) {
    let fleet = Fleet::start(queue).await;
    let _worker = fleet.worker("worker", &[]);
    let permanent = fleet.submit_noop(&[(END, "permanent")]).await;
    let panicked = fleet.submit_noop(&[(END, "panic")]).await;
    let second = fleet.submit_noop(&[(END, "retryable"), (WELL_FROM, "2")]).await;
    let record = fleet.ended(permanent).await;
    assert_eq!((record.state, record.attempts), (JobState::Discarded, 0));
    assert_eq!(record.failure.unwrap().code, FailureCode::AudioCorrupt);
    let record = fleet.ended(panicked).await;
    assert_eq!(record.failure.unwrap().code, FailureCode::Internal);
    let record = fleet.ended(second).await;
    assert_eq!((record.state, record.attempts, record.token), (JobState::Completed, 1, 2));
    let text = fleet.document(second, DOCUMENT).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains(r#""attempt":2"#), "{text:?}");
}

async fn a_running_job_is_cancelled_within_two_seconds(queue: Queue) {
    let fleet = Fleet::start(queue).await;
    let _worker = fleet.worker("worker", &[]);
    // The fastest of three: a machine may stand still for a moment.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let job = fleet.submit_noop(&[(WORK_MS, "600000")]).await;
        fleet.until(job, PATIENCE, |record| record.progress.is_some()).await;
        let began = Instant::now();
        fleet.store.request_cancel(job).await.unwrap();
        let record = fleet.ended(job).await;
        assert_eq!(record.state, JobState::Cancelled);
        fastest = fastest.min(began.elapsed());
        assert_eq!(fleet.document(job, DOCUMENT).await, None);
    }
    assert!(fastest < Duration::from_secs(2), "{fastest:?}");
}

async fn sigterm_lets_short_jobs_finish_and_hands_long_ones_back(queue: Queue) {
    let fleet = Fleet::start(queue).await;
    let mut worker = fleet.worker("worker", &["--grace-ms", "8000"]);
    let short = fleet.submit_noop(&[(WORK_MS, "1500")]).await;
    let long = fleet.submit_noop(&[(WORK_MS, "600000")]).await;
    for job in [short, long] {
        fleet.until(job, PATIENCE, |record| record.started_at.is_some()).await;
    }
    worker.signal(Signal::TERM);
    let ended = worker.end(PATIENCE).expect("it ends");
    assert!(ended.success(), "{}", worker.said());
    let record = fleet.ended(short).await;
    assert_eq!((record.state, record.token), (JobState::Completed, 1));
    let record = fleet.record(long).await;
    let counts = (record.attempts, record.crashes, record.interruptions);
    assert_eq!((record.state, counts), (JobState::Available, (0, 0, 1)));
    assert!(fleet.store.workers().await.unwrap().is_empty(), "it said farewell");
    // Another one goes on at once.
    let _next = fleet.worker("next", &[]);
    fleet.until(long, PATIENCE, |record| record.state == JobState::Running && record.token == 2).await;
}
