//! What workers tell about themselves, from outside.

use std::net::TcpListener;
use std::time::Duration;

use common::job::record::JobState;
use common::job::spec::{JobSpec, SourceRef};
use common::job::trace::TraceContext;
use common::port::job_store::{JobStore as _, NewJob};
use common::telemetry::lint;
use rustix::process::Signal;
use tests::collector::{get, metrics_address, value};
use tests::fleet::{Fleet, PATIENCE, Queue, job_id};
use tests::noop::{END, WORK_MS};
use tests::servers::wait_until;

const LOGGED: [&str; 4] = ["--metrics-listen", "127.0.0.1:0", "--log-format", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_counts_what_it_does_and_says_whether_it_is_ready() {
    let fleet = Fleet::start(Queue::Redis).await;
    let mut worker = fleet.worker("worker", &LOGGED);
    assert!(wait_until(PATIENCE, || metrics_address(&worker.said()).is_some()), "{}", worker.said());
    let address = metrics_address(&worker.said()).unwrap();
    assert!(wait_until(PATIENCE, || get(address, "/readyz").is_some()));
    assert_eq!(get(address, "/healthz").as_deref(), Some("ok\n"));
    let before = get(address, "/metrics").unwrap();
    assert_eq!(lint::problems(&before), [""; 0], "{before}");
    assert_eq!(value(&before, "rollcall_settled_jobs_total{state=\"completed\"}"), Some(0.0));

    let good = fleet.submit_noop(&[]).await;
    let bad = fleet.submit_noop(&[(END, "permanent")]).await;
    for job in [good, bad] {
        fleet.ended(job).await;
    }
    let long = fleet.submit_noop(&[(WORK_MS, "60000")]).await;
    fleet.until(long, PATIENCE, |record| record.state == JobState::Running).await;
    let wanted = [
        ("rollcall_failures_total{code=\"audio_corrupt\"}", 1.0),
        ("rollcall_settled_jobs_total{state=\"completed\"}", 1.0),
        ("rollcall_settled_jobs_total{state=\"discarded\"}", 1.0),
        ("rollcall_completed_audio_seconds_total", 1.0),
        ("rollcall_delivery_delay_seconds_count", 3.0),
        ("rollcall_attempt_duration_seconds_count", 2.0),
        ("rollcall_stage_duration_seconds_count{stage=\"store\"}", 1.0),
        ("rollcall_realtime_ratio_count", 1.0),
        ("rollcall_worker_jobs", 1.0),
        ("rollcall_worker_slots", 64.0),
        ("rollcall_worker_draining", 0.0),
    ];
    // A record says that a job runs a moment before the worker counts it.
    let counted = |page: &str| wanted.iter().all(|(series, wanted)| value(page, series) == Some(*wanted));
    wait_until(PATIENCE, || counted(&get(address, "/metrics").unwrap()));
    let page = get(address, "/metrics").unwrap();
    assert_eq!(lint::problems(&page), [""; 0], "{page}");
    for (series, wanted) in wanted {
        assert_eq!(value(&page, series), Some(wanted), "{series}\n{page}");
    }
    assert!(value(&page, "process_resident_memory_bytes").unwrap() > 1e6);

    worker.signal(Signal::TERM);
    assert!(wait_until(PATIENCE, || get(address, "/readyz").is_none()));
    worker.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_collector_holds_no_job_up_and_what_it_misses_is_counted() {
    const JOBS: usize = 2_000;
    let fleet = Fleet::start(Queue::Redis).await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let worker = fleet.worker_with("worker", &LOGGED, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        let mut spec = JobSpec::diarize(SourceRef::at("s3://nobody/reads.this"));
        spec.trace = TraceContext::new([7; 16], [8; 8], 1);
        let job = NewJob::new(job_id(), spec);
        jobs.push(job.id);
        fleet.store.insert(job).await.unwrap();
    }
    for job in jobs {
        assert_eq!(fleet.ended(job).await.state, JobState::Completed);
    }
    let address = metrics_address(&worker.said()).unwrap();
    let page = get(address, "/metrics").unwrap();
    let spans =
        |outcome: &str| value(&page, &format!("rollcall_spans_total{{outcome=\"{outcome}\"}}")).unwrap();
    // Seven spans a job: 14,000, of which 4,096 may wait, 512 be on their way, and a few be told of at this moment.
    let missed = spans("dropped") + spans("refused");
    assert!(missed >= 7.0 * JOBS as f64 - 4096.0 - 512.0 - 100.0, "{page}");
    assert_eq!(spans("sent"), 0.0);
    assert!(wait_until(Duration::from_secs(20), || {
        let page = get(address, "/metrics").unwrap();
        value(&page, "rollcall_spans_total{outcome=\"refused\"}") > Some(0.0)
    }));
    let told = || worker.said().matches("traces are not taken").count();
    assert!(wait_until(PATIENCE, || told() > 0), "{}", worker.said());
    assert_eq!(told(), 1, "said once");
}
