//! A worker without networks: it takes jobs as a real one does, and decides by the recording's text what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::adapter::queue::QueueBroker;
use common::adapter::redis::RedisJobStore;
use common::adapter::s3::S3Store;
use common::clock::{Clock as _, SystemClock};
use common::fleet::keep::{Hold, Stop};
use common::fleet::rescue::{self, RescueRules};
use common::fleet::take::{Asker, Taken, take};
use common::fleet::trip::{Work, WorkError, trip};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::lane::Lane;
use common::job::lease::{Lease, Nonce};
use common::job::record::{Document as StoredDocument, Progress, StoredResult};
use common::job::spec::{ContentDigest, JobSpec};
use common::job::worker::{WorkerId, WorkerInfo};
use common::object_key;
use common::port::broker::{Broker as _, Consumer as _};
use common::port::job_store::{Extension, JobStore as _};
use common::port::object_store::content::Content;
use common::port::object_store::{ObjectStore as _, PutOptions};
use common::random::{OsRandom, Random as _};
use common::reach::StoreUrl;
use common::speech::diarization::{Diarization, Turn};
use common::speech::render;
use common::speech::result_document::{AudioFacts, BundleFacts, Document, JobFacts, Provenance, Timing};
use common::speech::time::{Millis, Seconds};
use tokio::task::JoinHandle;

use crate::harness::Fleet;

const LEASE: Duration = Duration::from_secs(30);

/// A worker in this process; dropped, it is gone as if it had been killed.
pub struct StandIn {
    task: JoinHandle<()>,
    /// Recordings that begin with `slow` go on until this is set.
    pub released: Arc<AtomicBool>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Worker {
    jobs: RedisJobStore,
    objects: S3Store,
    released: Arc<AtomicBool>,
    clock: SystemClock,
}

impl StandIn {
    pub async fn start(fleet: &Fleet) -> Self {
        Self::start_copying_to(fleet, &[]).await
    }

    /// One whose operator allows these prefixes.
    pub async fn start_copying_to(fleet: &Fleet, allowed: &[&str]) -> Self {
        let allowed: Vec<_> = allowed.iter().map(|prefix| (*prefix).to_owned()).collect();
        let released = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            jobs: fleet.jobs(),
            objects: fleet.objects().await.copying_to(&allowed),
            released: Arc::clone(&released),
            clock: SystemClock::new(),
        };
        let info = WorkerInfo {
            id: WorkerId::new("stand-in", OsRandom.bytes()),
            host: "stand-in".to_owned(),
            device: "cpu".to_owned(),
            device_name: "none".to_owned(),
            bundle: "starter".to_owned(),
            version: "1".to_owned(),
            jobs: 0,
            slots: 1,
            audio_s_per_s: 0.0,
            capacity: None,
            draining: false,
        };
        worker.jobs.heartbeat(&info, Duration::from_secs(600)).await.unwrap();
        Self { task: tokio::spawn(serve(worker, fleet.broker(), info.id)), released }
    }
}

async fn serve(worker: Worker, broker: QueueBroker, id: WorkerId) {
    broker.assert_topology().await.unwrap();
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    let asker = Asker { worker: id.clone(), lasts: LEASE };
    loop {
        let delivery = tokio::select! {
            delivery = consumer.next() => delivery.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                rescue::pass(&worker.jobs, &broker, &id, &RescueRules::default()).await.unwrap();
                continue;
            }
        };
        let nonce = Nonce::new(OsRandom.bytes());
        if let Taken::Held(lease) = take(&worker.jobs, delivery, &asker, nonce, &worker.clock).await {
            let hold = Hold::on(&lease);
            trip(&worker.jobs, &worker.objects, &lease, &hold, &worker, 0.0).await;
        }
    }
}

impl Work for Worker {
    async fn work(&self, lease: &Lease<JobSpec>, hold: &Hold) -> Result<StoredResult, WorkError> {
        let spec = &lease.payload;
        let uri = &spec.audio.uri;
        let key = StoreUrl::new("s3://bucket/fleet").key(uri).unwrap_or_default().to_owned();
        let failed = |code, detail: &str| {
            let class = FailureClass::Permanent;
            WorkError::from(Failure { code, stage: Stage::Decode, class, detail: detail.to_owned() })
        };
        let content = self.objects.read(&key, 1 << 20).await;
        let content = content.map_err(|error| failed(FailureCode::SourceMissing, &error.to_string()))?;
        if content.starts_with(b"not audio") {
            return Err(failed(FailureCode::AudioUnsupported, "no audio format begins like this"));
        }
        while content.starts_with(b"slow") && !self.released.load(Ordering::SeqCst) {
            let progress = Progress { stage: Stage::Embedding, percent: 42 };
            self.jobs.report(*lease.key(), progress).await.unwrap();
            match self.jobs.extend(*lease.key(), LEASE, self.clock.monotonic()).await.unwrap() {
                Extension::Held { cancel_requested: false, .. } => {}
                Extension::Held { .. } => return Err(Stop::CancelRequested.into()),
                Extension::Lost => return Err(Stop::LeaseLost.into()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let document = document(lease, &content);
        let mut documents = Vec::new();
        for (name, text) in [
            ("segments.json", render::json::write(&document)),
            ("turns.rttm", render::rttm::write("stand-in", &document)),
        ] {
            let folder = object_key::attempt(&hold.key());
            let put = Content::from(text.clone().into_bytes());
            self.objects.put(&format!("{folder}{name}"), put, &PutOptions::default()).await.unwrap();
            documents.push(StoredDocument {
                name: name.to_owned(),
                bytes: text.len() as u64,
                sha256: ContentDigest::of(text.as_bytes()),
            });
        }
        Ok(StoredResult {
            documents,
            audio: Duration::from_secs(4),
            audio_sha256: Some(ContentDigest::of(&content)),
            bundle: Some("starter@1".to_owned()),
            voices: None,
        })
    }
}

/// Two people, one after the other.
fn document(lease: &Lease<JobSpec>, content: &[u8]) -> Document {
    let turn = |start: f64, end: f64, speaker| Turn {
        start: Seconds::new(start).unwrap(),
        end: Seconds::new(end).unwrap(),
        speaker,
    };
    let turns = vec![turn(0.0, 2.0, 0), turn(2.0, 4.0, 1)];
    let provenance = Provenance {
        job: JobFacts { id: lease.job().to_string(), attempt: lease.attempt },
        audio: AudioFacts {
            uri: lease.payload.audio.uri.clone(),
            sha256: ContentDigest::of(content).to_string(),
            duration: Millis::new(4000),
            sample_rate_hz: 16_000,
            channels: 1,
            codec: "pcm".to_owned(),
        },
        bundle: BundleFacts { name: "starter".to_owned(), version: "1".to_owned(), sha256: "0".repeat(64) },
        device: "cpu".to_owned(),
        timing: Timing::default(),
        warnings: Vec::new(),
    };
    Document::new(&Diarization::new(turns.clone(), turns).unwrap(), provenance)
}
