//! `rollcall-worker serve` with the real networks. Needs the starter bundle and ONNX Runtime in `ROLLCALL_HOME`, which
//! `tests/run.sh` installs, and the worker's program beside these tests.

use std::path::Path;
use std::process::Command;

use common::job::failure::FailureCode;
use common::job::record::JobState;
use common::job::spec::{ContentDigest, FILE_TAG, JobSpec, SourceRef};
use common::object_key;
use common::port::job_store::JobStore as _;
use common::port::object_store::ObjectStore as _;
use common::speech::voice::{self, Voice};
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
    let mut spec = JobSpec::diarize(source.clone());
    spec.tags.insert(FILE_TAG.to_owned(), "Monday call.wav".to_owned());
    let job = fleet.submit(spec).await;
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
    let turns = fleet.document(job, "turns.rttm").await.unwrap();
    assert!(turns.starts_with(b"SPEAKER Monday_call 1 "), "called what its file was: {turns:?}");

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

/// The sample's frames in which one person speaks alone, as a recording: 16-bit PCM, as the sample is.
fn alone(name: &str) -> Vec<u8> {
    let wav = std::fs::read(sample()).unwrap();
    let labels = std::fs::read_to_string(sample().with_extension("rttm")).unwrap();
    let spans: Vec<(f64, f64, &str)> = labels
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (start, length): (f64, f64) = (fields[3].parse().unwrap(), fields[4].parse().unwrap());
            (start, start + length, fields[7])
        })
        .collect();
    let rate = u32::from_le_bytes(wav[24..28].try_into().unwrap());
    let is_alone = |span: &&(f64, f64, &str)| {
        span.2 == name && spans.iter().all(|other| other.2 == name || other.1 <= span.0 || span.1 <= other.0)
    };
    let byte = |seconds: f64| 44 + 2 * (seconds * f64::from(rate)) as usize;
    let sound: Vec<u8> =
        spans.iter().filter(is_alone).flat_map(|span| &wav[byte(span.0)..byte(span.1)]).copied().collect();
    let mut out = wav[..44].to_vec();
    out[4..8].copy_from_slice(&(36 + sound.len() as u32).to_le_bytes());
    out[40..44].copy_from_slice(&(sound.len() as u32).to_le_bytes());
    out.extend(sound);
    out
}

#[tokio::test]
async fn a_voice_is_learnt_and_recognised() {
    let servers = ScopedFolder::new().unwrap();
    let redis = Redis::start(servers.path(), Fsync::Always).unwrap();
    let fleet = Fleet::at(redis.url(), redis.url(), None, "rollcall".to_owned()).await;
    let mut worker = worker(&fleet);
    let source = fleet.upload(&sample()).await;
    let before = fleet.submit(JobSpec::diarize(source.clone())).await;
    assert_eq!(fleet.ended(before).await.state, JobState::Completed, "{}", worker.said());

    let anna = fleet.upload_bytes(alone("anna"), "wav").await;
    let again = fleet.upload_bytes(alone("anna"), "wav").await;
    let learnt = fleet.submit(JobSpec::enroll("Anna B", anna, vec![again])).await;
    let mixed = fleet.submit(JobSpec::enroll("Mixed", source.clone(), vec![])).await;
    let record = fleet.ended(learnt).await;
    assert_eq!(record.state, JobState::Completed, "{record:#?}\n{}", worker.said());
    let record = fleet.ended(mixed).await;
    assert_eq!((record.state, record.attempts), (JobState::Discarded, 0));
    assert_eq!(record.failure.unwrap().code, FailureCode::VoiceUnsuitable);

    let listed = fleet.objects.list(object_key::SPEAKERS, None, 10).await.unwrap();
    let keys: Vec<_> = listed.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, ["speakers/starter/Anna B.json"], "nothing of what was refused");
    let json = fleet.objects.read(keys[0], voice::BYTES_MAX).await.unwrap();
    let known = Voice::parse(&json).unwrap();
    assert_eq!((known.name.as_str(), known.recordings), ("Anna B", 2));

    let after = fleet.submit(JobSpec::diarize(source)).await;
    let record = fleet.ended(after).await;
    assert!(
        record.result.as_ref().unwrap().voices.is_some(),
        "the result says which voices it was made with"
    );
    let names = async |job| {
        let json = fleet.document(job, "segments.json").await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let names = json["speaker_details"].as_array().unwrap().iter().map(|detail| detail["name"].clone());
        names.filter(|name| !name.is_null()).collect::<Vec<_>>()
    };
    assert_eq!(names(before).await, Vec::<serde_json::Value>::new());
    assert_eq!(names(after).await, ["Anna B"]);
    worker.signal(Signal::TERM);
    assert!(worker.end(PATIENCE).expect("it ends").success(), "{}", worker.said());
}
