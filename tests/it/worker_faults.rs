//! Deaths and pauses of workers, sources that are not what they ought to be, a store that fails: on real servers.

use std::process::Command;

use common::job::failure::FailureCode;
use common::job::record::{JobRecord, JobState};
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::object_key;
use hyper::Method;
use rustix::process::Signal;
use tests::fleet::{Fleet, PATIENCE, Process, Queue, namespace, program};
use tests::noop::{DOCUMENT, WORK_MS};
use tests::s3_server::fault::Fault;
use tests::s3_server::{Bounds, Keys, S3Server};
use tests::servers::{shared, wait_until};

/// Short enough for a test, long enough for a busy machine.
const LEASE: [&str; 2] = ["--lease-ms", "3000"];

fn counts(record: &JobRecord) -> (u32, u32, u32) {
    (record.attempts, record.crashes, record.interruptions)
}

async fn a_killed_workers_job_runs_again(queue: Queue) {
    let fleet = Fleet::start(queue).await;
    let mut first = fleet.worker("first", &LEASE);
    let job = fleet.submit_noop(&[(WORK_MS, "6000")]).await;
    fleet.until(job, PATIENCE, |record| record.state == JobState::Running).await;
    first.kill();
    let _second = fleet.worker("second", &[]);
    let record = fleet.ended(job).await;
    assert_eq!((record.state, counts(&record)), (JobState::Completed, (0, 1, 0)));
    // One token for each lease and one for the end of the first.
    assert_eq!(record.token, 3);
    let text = fleet.document(job, DOCUMENT).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains(r#""attempt":2"#), "{text:?}");
}

#[tokio::test]
async fn a_killed_workers_job_runs_again_amqp() {
    a_killed_workers_job_runs_again(Queue::Amqp).await;
}

#[tokio::test]
async fn a_killed_workers_job_runs_again_redis() {
    a_killed_workers_job_runs_again(Queue::Redis).await;
}

#[tokio::test]
async fn a_paused_worker_publishes_nothing_when_it_wakes() {
    let fleet = Fleet::start(Queue::Redis).await;
    let mut zombie = fleet.worker("zombie", &LEASE);
    let job = fleet.submit_noop(&[(WORK_MS, "6000")]).await;
    // Once it has said something of its work it knows of its lease; before that it would not begin.
    fleet.until(job, PATIENCE, |record| record.progress.is_some()).await;
    zombie.signal(Signal::STOP);
    let mut second = fleet.worker("second", &[]);
    let record = fleet.ended(job).await;
    assert_eq!((record.state, counts(&record)), (JobState::Completed, (0, 1, 0)));
    zombie.signal(Signal::CONT);
    assert!(wait_until(PATIENCE, || zombie.said().contains("the lease is lost")), "{}", fleet.logs());
    let text = fleet.document(job, DOCUMENT).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains(r#""attempt":2"#), "{text:?}");
    let keys = fleet.keys(job).await;
    assert!(keys.iter().all(|key| !key.starts_with(&format!("{}1-", object_key::results(job)))), "{keys:?}");
    assert_eq!(fleet.record(job).await, record, "nothing changed");
    // It goes on as an honest worker.
    second.kill();
    let next = fleet.submit_noop(&[]).await;
    let record = fleet.ended(next).await;
    assert_eq!((record.state, record.token), (JobState::Completed, 1));
}

#[tokio::test]
async fn sources_that_cannot_be_used_fail_for_good() {
    let fleet = Fleet::start(Queue::Redis).await;
    let _worker = fleet.worker("worker", &["--fetch"]);
    let store = fleet.deployment.store_url.clone();
    let good = fleet.upload_bytes(b"content".to_vec(), "wav").await;
    let declared = |bytes| SourceRef { bytes: Some(bytes), ..good.clone() };
    for (source, code) in [
        (SourceRef::at(format!("{store}/inbox/nothing.wav")), FailureCode::SourceMissing),
        (SourceRef::at("s3://somebody-else/a.wav"), FailureCode::NotAllowed),
        (SourceRef::at("file:///etc/passwd"), FailureCode::NotAllowed),
        (SourceRef::at(format!("{store}/../../etc/passwd")), FailureCode::NotAllowed),
        (SourceRef::at("http://127.0.0.1/a.wav"), FailureCode::NotAllowed),
        (SourceRef::at("https://127.0.0.1/a.wav"), FailureCode::SourceForbidden),
        (SourceRef::at("https://localhost/a.wav"), FailureCode::SourceForbidden),
        (declared(9 << 30), FailureCode::AudioTooLong),
    ] {
        let job = fleet.submit(JobSpec::diarize(source.clone())).await;
        let record = fleet.ended(job).await;
        assert_eq!((record.state, counts(&record)), (JobState::Discarded, (0, 0, 0)), "{source:?}");
        let failure = record.failure.unwrap();
        assert_eq!(failure.code, code, "{source:?}: {failure}");
    }
    let mut spec = JobSpec::diarize(good);
    spec.options.transcript = Some(SourceRef::at(format!("{store}/inbox/no-transcript.json")));
    let record = fleet.ended(fleet.submit(spec).await).await;
    assert_eq!(record.failure.unwrap().code, FailureCode::SourceMissing);
}

/// A worker whose store is an S3 server of the test.
fn s3_worker(fleet: &Fleet, server: &S3Server) -> Process {
    let program = program("rollcall-noop-worker").expect("cargo builds it with the tests of its crate");
    let mut command = Command::new(program);
    command.args(fleet.deployment.flags()).arg("--fetch").arg("--scratch").arg(fleet.folder.path());
    command.env("AWS_ENDPOINT_URL_S3", server.endpoint()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    Process::start(fleet.folder.path(), "worker", command.env("ROLLCALL_LOG", "info"))
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_delays_and_spoils_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let keys = Keys { access: "key".to_owned(), secret: "secret".to_owned() };
    let server = S3Server::start(folder.path(), ([127, 0, 0, 1], 0).into(), keys, Bounds::default());
    let server = server.await.unwrap();
    // The test writes as its worker does: by the environment. Nothing else in this process reads these.
    let fleet = s3_fleet(&server).await;
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let source = put(&fleet, &content).await;
    let _worker = s3_worker(&fleet, &server);

    let busy = || Fault::Answer { status: 503, retry_after_s: None };
    server.faults().next(Method::GET, "inbox/", 2, busy());
    server.faults().next(Method::GET, "inbox/", 2, Fault::Cut { after_bytes: 100_000 });
    server.faults().next(Method::PUT, "results/", 3, busy());
    server.faults().next(Method::PUT, "results/", 1, Fault::LoseAnswer);
    let job = fleet.submit(JobSpec::diarize(source.clone())).await;
    let record = fleet.ended(job).await;
    assert_eq!((record.state, counts(&record)), (JobState::Completed, (0, 0, 0)), "{record:#?}");
    let ranges = server.faults().requests("bytes=100000-");
    assert!(!ranges.is_empty(), "a download goes on where it broke off");
    assert!(fleet.document(job, DOCUMENT).await.is_some());

    // A wrong byte is noticed and costs an attempt.
    server.faults().next(Method::GET, "inbox/", 1, Fault::Flip { at_byte: 7 });
    let job = fleet.submit(JobSpec::diarize(source)).await;
    let record = fleet.ended(job).await;
    assert_eq!((record.state, record.crashes), (JobState::Completed, 0), "{record:#?}");
    assert_eq!(record.attempts, 1, "{record:#?}");
}

async fn s3_fleet(server: &S3Server) -> Fleet {
    let servers = shared();
    let (redis, name) = (servers.redis_url.clone(), namespace());
    let mut fleet = Fleet::at(redis.clone(), redis, None, name).await;
    let access = common::adapter::s3::S3Access {
        endpoint: Some(server.endpoint()),
        keys: Some(("key".to_owned(), "secret".to_owned())),
        region: Some("us-east-1".to_owned()),
    };
    fleet.deployment.store_url = "s3://bucket".to_owned();
    let opened = common::adapter::store::UrlStore::open("s3://bucket", Default::default(), &access);
    fleet.objects = opened.await.unwrap();
    fleet
}

async fn put(fleet: &Fleet, content: &[u8]) -> SourceRef {
    let source = fleet.upload_bytes(content.to_vec(), "bin").await;
    assert_eq!(source.sha256, Some(ContentDigest::of(content)));
    source
}

#[tokio::test]
async fn a_lost_device_ends_the_process_and_the_job_goes_on_elsewhere() {
    let fleet = Fleet::start(Queue::Redis).await;
    let mut first = fleet.worker("first", &[]);
    let job = fleet.submit_noop(&[("end", "lost"), ("well-from", "2")]).await;
    let other = fleet.submit_noop(&[(WORK_MS, "4000")]).await;
    let ended = first.end(PATIENCE).expect("a worker without its device ends");
    assert!(!ended.success());
    assert_eq!(fleet.record(job).await.attempts, 1);
    let _second = fleet.worker("second", &[]);
    for job in [job, other] {
        let record = fleet.ended(job).await;
        assert_eq!((record.state, record.crashes), (JobState::Completed, 0));
    }
}
