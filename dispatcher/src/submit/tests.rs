use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::adapter::folder::Durability;
use common::adapter::memory::broker::MemoryBroker;
use common::adapter::memory::job_store::MemoryJobStore;
use common::adapter::s3::S3Access;
use common::clock::SystemClock;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::worker::{WorkerId, WorkerInfo};
use common::port::job_store::{JobFilter, StoreRules};
use common::random::OsRandom;
use common::reach::StoreUrl;

use super::*;
use crate::command::{ExitStatus, Explain as _};

struct Bench {
    folder: tempfile::TempDir,
    jobs: MemoryJobStore,
    broker: MemoryBroker,
    objects: UrlStore,
    terms: Terms,
    clock: SystemClock,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().join("store").display());
        let objects = UrlStore::open(&url, Durability::Cached, &S3Access::default()).await.unwrap();
        let clock = SystemClock::new();
        let reach = Reach::new(StoreUrl::new(&url), vec![]);
        Self {
            folder,
            jobs: MemoryJobStore::new(Arc::new(clock), StoreRules::default()),
            broker: MemoryBroker::new(),
            objects,
            terms: Terms { recursive: false, cache: true, force: false, reach, signs_webhooks: false },
            clock,
        }
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    async fn submit(&self, requests: Vec<JobRequest>) -> Result<Outcome, SubmitError> {
        let Self { jobs, broker, objects, clock, .. } = self;
        submit(&Ports { jobs, broker, objects, clock, random: &OsRandom }, requests, &self.terms, &|_| {})
            .await
    }

    async fn one(&self, audio: &str, wishes: Wishes) -> Result<Inserted, SubmitError> {
        let outcome = self.submit(vec![JobRequest { audio: audio.to_owned(), wishes }]).await?;
        match (outcome.stopped, outcome.silent) {
            (None, None) => Ok(outcome.submitted.into_iter().next().unwrap().inserted),
            other => panic!("{other:?}"),
        }
    }

    async fn count(&self) -> usize {
        self.jobs.list(JobFilter { limit: 100, ..JobFilter::default() }).await.unwrap().jobs.len()
    }

    async fn worker(&self) {
        let info = WorkerInfo {
            id: WorkerId::new("h", [0; 16]),
            host: "h".to_owned(),
            device: "cpu".to_owned(),
            device_name: String::new(),
            bundle: "starter".to_owned(),
            version: "1".to_owned(),
            jobs: 0,
            slots: 1,
            audio_s_per_s: 0.0,
            capacity: None,
            draining: false,
        };
        self.jobs.heartbeat(&info, Duration::from_secs(60)).await.unwrap();
    }
}

fn record(inserted: Inserted) -> JobRecord {
    match inserted {
        Inserted::Accepted(record) => record,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_uploaded_recorded_and_rung_for() {
    let bench = Bench::new().await;
    let wishes = Wishes { lane: Some(Lane::High), ..Wishes::default() };
    let record = record(bench.one(&bench.file("Talk.WAV", "sound"), wishes).await.unwrap());
    let digest = ContentDigest::of(b"sound");
    assert_eq!(record.state, JobState::Available);
    assert!(
        record.spec.audio.uri.ends_with(&format!("/store/inbox/{digest}.wav")),
        "{}",
        record.spec.audio.uri
    );
    assert_eq!((record.spec.audio.sha256, record.spec.audio.bytes), (Some(digest), Some(5)));
    assert_eq!(record.spec.shown_name(), "Talk.WAV");
    assert_eq!(bench.broker.ready(Lane::High).await.unwrap(), 1, "its bell is in the queue");
    assert_eq!(bench.jobs.status().await.unwrap().outbox(), 0);
    let key = bench.terms.reach.store().key(&record.spec.audio.uri).unwrap();
    assert_eq!(digest_in_key(key), Some(digest), "the same object named by its address is the same content");
}

#[tokio::test]
async fn one_key_names_one_job_and_in_a_list_one_for_each_content() {
    let bench = Bench::new().await;
    let wishes = Wishes { idempotency_key: Some("k".repeat(256)), ..Wishes::default() };
    let (a, b) = (bench.file("a.wav", "a"), bench.file("b.wav", "b"));
    let first = record(bench.one(&a, wishes.clone()).await.unwrap());
    assert!(
        matches!(bench.one(&a, wishes.clone()).await.unwrap(), Inserted::Same(same) if same.id == first.id)
    );
    let list = |names: &[&String]| -> Vec<JobRequest> {
        names.iter().map(|name| JobRequest { audio: (*name).clone(), wishes: wishes.clone() }).collect()
    };
    let ids = |outcome: Outcome| -> Vec<JobId> {
        outcome.submitted.into_iter().map(|one| one.inserted.record().unwrap().id).collect()
    };
    let forward = ids(bench.submit(list(&[&a, &b])).await.unwrap());
    let mut backward = ids(bench.submit(list(&[&b, &a])).await.unwrap());
    backward.reverse();
    assert_eq!(forward, backward, "whatever the order");
    assert_eq!(bench.count().await, 3);
    let too_long = Wishes { idempotency_key: Some("k".repeat(257)), ..Wishes::default() };
    assert_eq!(bench.one(&a, too_long).await.unwrap_err().status(), ExitStatus::Usage);
}

#[tokio::test]
async fn nothing_is_recorded_when_anything_is_refused() {
    let bench = Bench::new().await;
    bench.worker().await;
    let good = bench.file("a.wav", "a");
    let refused = |wishes: Wishes| bench.one(&good, wishes);
    for (wishes, said, status) in [
        (Wishes { bundle: Some("x".into()), ..Wishes::default() }, "no such bundle: `x`", ExitStatus::Failed),
        (
            Wishes { output: Some("s3://other/p/".into()), ..Wishes::default() },
            "documents are copied only to `s3://`",
            ExitStatus::Usage,
        ),
        (
            Wishes { callback_url: Some("https://x/".into()), ..Wishes::default() },
            "without a secret",
            ExitStatus::Usage,
        ),
        (
            Wishes { attempts_max: Some(0), ..Wishes::default() },
            "not a job that can be done",
            ExitStatus::Usage,
        ),
        (
            Wishes { transcript: Some(bench.file("t.txt", "{no transcript")), ..Wishes::default() },
            "not a transcript that can be used",
            ExitStatus::Failed,
        ),
    ] {
        let error = refused(wishes).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.status(), status, "{error}");
        assert!(!error.hints().is_empty() || status == ExitStatus::Usage, "{error}");
    }
    let missing = bench.folder.path().join("none.wav").display().to_string();
    let requests =
        [&good, &missing].map(|audio| JobRequest { audio: audio.clone(), wishes: Wishes::default() });
    assert!(bench.submit(requests.to_vec()).await.is_err());
    assert_eq!(bench.count().await, 0);
    assert!(!bench.folder.path().join("store/inbox").exists(), "nothing was uploaded");
}

#[tokio::test]
async fn a_transcript_is_read_and_uploaded() {
    let bench = Bench::new().await;
    let srt = bench.file("t.srt", "1\n00:00:00,000 --> 00:00:01,000\nHello\n");
    let wishes = Wishes { transcript: Some(srt), ..Wishes::default() };
    let record = record(bench.one(&bench.file("a.wav", "a"), wishes.clone()).await.unwrap());
    let transcript = record.spec.options.transcript.unwrap();
    assert!(transcript.uri.ends_with(".srt") && transcript.sha256.is_some());
    let folder = bench.folder.path().join("many");
    std::fs::create_dir(&folder).unwrap();
    for name in ["a.wav", "b.wav"] {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let error = bench.one(folder.to_str().unwrap(), wishes).await.unwrap_err();
    assert!(matches!(error, SubmitError::TranscriptForMany { recordings: 2 }), "{error}");
}

#[tokio::test]
async fn an_upload_that_is_named_begins_its_time_anew() {
    let bench = Bench::new().await;
    let srt = bench.file("t.srt", "1\n00:00:00,000 --> 00:00:01,000\nHello\n");
    let wishes = |transcript: String| Wishes { transcript: Some(transcript), ..Wishes::default() };
    let first = record(bench.one(&bench.file("a.wav", "a"), wishes(srt)).await.unwrap());
    let uris = [first.spec.audio.uri, first.spec.options.transcript.unwrap().uri];
    let files = uris.clone().map(|uri| PathBuf::from(uri.strip_prefix("file://").unwrap()));
    let now = std::time::UNIX_EPOCH + Duration::from_millis(bench.clock.now().as_millis());
    let day = Duration::from_secs(24 * 3600);
    for file in &files {
        std::fs::File::options().write(true).open(file).unwrap().set_modified(now - 6 * day).unwrap();
    }
    let again = record(bench.one(&uris[0], wishes(uris[1].clone())).await.unwrap());
    assert_eq!((again.spec.audio.uri, again.spec.audio.sha256), (uris[0].clone(), first.spec.audio.sha256));
    for file in &files {
        let used = std::fs::metadata(file).unwrap().modified().unwrap();
        assert!(used > now - day, "{}", file.display());
    }
}
