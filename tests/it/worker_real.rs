//! `rollcall-worker serve` with the real networks. Needs the starter bundle and ONNX Runtime in `ROLLCALL_HOME`, which
//! `tests/run.sh` installs, and the worker's program beside these tests.

use std::path::Path;
use std::process::Command;

use common::job::failure::FailureCode;
use common::job::record::JobState;
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::port::job_store::JobStore as _;
use rustix::process::Signal;
use tests::fleet::{Fleet, PATIENCE, Process, program};
use tests::servers::{Fsync, Rabbit, RabbitOptions, Redis, ScopedFolder};

/// A worker as people start it. Its names on the servers are the usual ones, so the servers are the test's own.
fn worker(fleet: &Fleet) -> Process {
    let program = program("rollcall-worker").expect("`cargo build --workspace` puts it beside the tests");
    let mut command = Command::new(program);
    command.args(["serve", "--device", "cpu", "--threads", "1", "--lease", "6"]);
    command.env("ROLLCALL_REDIS_URL", &fleet.deployment.redis_url);
    command.env("ROLLCALL_QUEUE_URL", &fleet.deployment.queue_url);
    command.env("ROLLCALL_STORE_URL", &fleet.deployment.store_url);
    Process::start(fleet.folder.path(), "worker", &mut command)
}

fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("audio/sample.wav")
}

async fn a_recording_is_diarized(amqp: bool) {
    let servers = ScopedFolder::new().unwrap();
    let redis = Redis::start(servers.path(), Fsync::Always).unwrap();
    let rabbit = amqp.then(|| Rabbit::start(servers.path(), &RabbitOptions::default()).unwrap());
    let queue_url = rabbit.as_ref().map_or_else(|| redis.url(), Rabbit::url);
    let fleet = Fleet::at(redis.url(), queue_url, None, "rollcall".to_owned()).await;
    let mut worker = worker(&fleet);
    let source = fleet.upload(&sample()).await;
    let job = fleet.submit(JobSpec::diarize(source.clone())).await;
    let wrong = fleet.upload_bytes(b"not audio".to_vec(), "wav").await;
    let wrong = fleet.submit(JobSpec::diarize(wrong)).await;

    let record = fleet.ended(job).await;
    assert_eq!(record.state, JobState::Completed, "{record:#?}\n{}", worker.said());
    let result = record.result.as_ref().unwrap();
    assert_eq!(result.audio_sha256, source.sha256);
    let names: Vec<_> = result.documents.iter().map(|document| document.name.as_str()).collect();
    assert_eq!(names, ["segments.json", "turns.rttm", "timeline.html", "embeddings.npy"]);
    for document in &result.documents {
        let stored = fleet.document(job, &document.name).await.unwrap();
        assert_eq!(ContentDigest::of(&stored), document.sha256, "{}", document.name);
    }
    let json: serde_json::Value =
        serde_json::from_slice(&fleet.document(job, "segments.json").await.unwrap()).unwrap();
    assert_eq!(json["speakers"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!(json["job"]["id"], job.to_string());
    assert_eq!(json["audio"]["uri"], source.uri);

    let record = fleet.ended(wrong).await;
    assert_eq!((record.state, record.attempts), (JobState::Discarded, 0));
    let code = record.failure.unwrap().code;
    assert!(matches!(code, FailureCode::AudioUnsupported | FailureCode::AudioCorrupt), "{code:?}");

    let seen = fleet.store.workers().await.unwrap();
    assert_eq!(
        (seen.len(), seen[0].info.bundle.as_str(), seen[0].info.device.as_str()),
        (1, "starter", "cpu")
    );
    worker.signal(Signal::TERM);
    assert!(worker.end(PATIENCE).expect("it ends").success(), "{}", worker.said());
    let nobody = fleet.submit(JobSpec::diarize(SourceRef::at("s3://b/a.wav"))).await;
    assert_eq!(fleet.record(nobody).await.state, JobState::Available);
}

#[tokio::test]
async fn a_recording_is_diarized_over_redis_streams() {
    a_recording_is_diarized(false).await;
}

#[tokio::test]
async fn a_recording_is_diarized_over_amqp() {
    a_recording_is_diarized(true).await;
}
