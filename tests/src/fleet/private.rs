//! A fleet of one test: names of its own on servers, a folder as its store, jobs put straight into the records.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::adapter::folder::Durability;
use common::adapter::queue::QueueBroker;
use common::adapter::redis::RedisJobStore;
use common::adapter::store::UrlStore;
use common::clock::{Clock as _, SystemClock};
use common::fleet::relay::{self, RelayRules};
use common::job::id::JobId;
use common::job::record::JobRecord;
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::object_key;
use common::port::broker::Broker as _;
use common::port::job_store::{Inserted, JobStore, NewJob};
use common::port::object_store::{ObjectStore, PutOptions};
use common::random::{OsRandom, Random as _};
use worker::supervise::Ports;

use super::{Deployment, Process, program};
use crate::servers::shared;

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// RabbitMQ.
    Amqp,
    /// Redis Streams.
    Redis,
}

/// Longest wait for anything that a fleet does within a few leases.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(10);

/// A fleet on the shared servers.
pub struct Fleet {
    /// Its logs and its store.
    pub folder: tempfile::TempDir,
    /// Its names.
    pub deployment: Deployment,
    /// Its records.
    pub store: RedisJobStore,
    /// Its queue.
    pub broker: QueueBroker,
    /// Its objects.
    pub objects: UrlStore,
}

/// A name that no other test of any run on the shared servers has.
#[must_use]
pub fn namespace() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    format!("f{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A new id.
#[must_use]
pub fn job_id() -> JobId {
    JobId::new(SystemClock::new().now(), OsRandom.bytes())
}

impl Fleet {
    /// One with names of its own on the shared servers and a folder as its store.
    ///
    /// # Panics
    /// When there are no servers.
    pub async fn start(queue: Queue) -> Self {
        let servers = shared();
        let queue_url = if queue == Queue::Amqp { &servers.amqp_url } else { &servers.redis_url };
        Self::at(servers.redis_url.clone(), queue_url.clone(), None, namespace()).await
    }

    /// One on these servers.
    ///
    /// # Panics
    /// When the servers cannot be used.
    pub async fn at(
        redis_url: String,
        queue_url: String,
        store_url: Option<String>,
        namespace: String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store_url =
            store_url.unwrap_or_else(|| format!("file://{}", folder.path().join("store").display()));
        let deployment = Deployment { redis_url, queue_url, store_url, namespace, quick: true };
        let ports = Box::pin(deployment.connect(Durability::Cached)).await.unwrap();
        let Ports { store, broker, objects } = ports;
        broker.assert_topology().await.unwrap();
        Self { folder, deployment, store, broker, objects }
    }

    /// A worker without networks.
    #[must_use]
    pub fn worker(&self, name: &str, flags: &[&str]) -> Process {
        self.worker_with(name, flags, &[])
    }

    /// The same, with further variables.
    #[must_use]
    pub fn worker_with(&self, name: &str, flags: &[&str], variables: &[(&str, &str)]) -> Process {
        let program = program("rollcall-noop-worker").expect("cargo builds it with the tests of its crate");
        let mut command = Command::new(program);
        command.args(self.deployment.flags()).arg("--scratch").arg(self.folder.path()).args(flags);
        command.env("ROLLCALL_LOG", "info").envs(variables.iter().copied());
        Process::start(self.folder.path(), name, &mut command)
    }

    /// Uploads a file and gives the source of a job.
    pub async fn upload(&self, path: &Path) -> SourceRef {
        let content = std::fs::read(path).unwrap();
        let extension = path.extension().and_then(|text| text.to_str()).unwrap_or("");
        self.upload_bytes(content, extension).await
    }

    /// Uploads bytes and gives the source of a job.
    pub async fn upload_bytes(&self, content: Vec<u8>, extension: &str) -> SourceRef {
        let digest = ContentDigest::of(&content);
        let key = object_key::inbox(&digest, extension);
        let bytes = content.len() as u64;
        self.objects.put(&key, content.into(), &PutOptions::default()).await.unwrap();
        let uri = format!("{}/{key}", self.deployment.store_url);
        SourceRef { uri, sha256: Some(digest), bytes: Some(bytes), duration: None }
    }

    /// Submits a job and rings.
    pub async fn submit(&self, spec: JobSpec) -> JobId {
        let id = job_id();
        let new = NewJob { force: true, ..NewJob::new(id, spec) };
        let inserted = self.store.insert(new).await.unwrap();
        assert!(matches!(inserted, Inserted::Accepted(_)), "{inserted:?}");
        let relayed = relay::pass_all(&self.store, &self.broker, &RelayRules::default()).await.unwrap();
        assert_eq!(relayed.error, None);
        id
    }

    /// Submits a job of the worker without networks, with tags that say how it goes.
    pub async fn submit_noop(&self, tags: &[(&str, &str)]) -> JobId {
        let mut spec = JobSpec::diarize(SourceRef::at(format!("{}/inbox/none", self.deployment.store_url)));
        spec.tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.submit(spec).await
    }

    /// The record.
    pub async fn record(&self, job: JobId) -> JobRecord {
        self.store.get(job).await.unwrap().expect("it was submitted")
    }

    /// Waits until a record is as wanted.
    ///
    /// # Panics
    /// When it does not become so within `bound`.
    pub async fn until(&self, job: JobId, bound: Duration, wanted: impl Fn(&JobRecord) -> bool) -> JobRecord {
        let began = Instant::now();
        loop {
            let record = self.record(job).await;
            if wanted(&record) {
                return record;
            }
            assert!(began.elapsed() < bound, "not as wanted within {bound:?}: {record:#?}\n{}", self.logs());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until a job has ended; completed ones until they are exported too.
    pub async fn ended(&self, job: JobId) -> JobRecord {
        self.until(job, PATIENCE, |record| record.is_over()).await
    }

    /// A document at its stable key.
    pub async fn document(&self, job: JobId, name: &str) -> Option<Bytes> {
        self.objects.read(&object_key::document(job, name), 64 << 20).await.ok()
    }

    /// Every key below a job's folder.
    pub async fn keys(&self, job: JobId) -> Vec<String> {
        let page = self.objects.list(&object_key::results(job), None, 1000).await.unwrap();
        page.objects.into_iter().map(|object| object.key).collect()
    }

    /// The ends of all logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let logs = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
        let text = logs.map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let last: Vec<_> = text.lines().rev().take(30).collect();
            format!(
                "--- {}\n{}\n",
                entry.path().display(),
                last.into_iter().rev().collect::<Vec<_>>().join("\n")
            )
        });
        text.collect()
    }
}
