//! What a job costs on Redis: memory of a finished one (the contract of the fleet: under 2 KiB), and steps per second.

#![allow(clippy::unwrap_used, reason = "in this crate a panic is the report")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::clock::{Monotonic, Timestamp};
use common::fleet::export::cache_key;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::lease::Nonce;
use common::job::record::{Document, StoredResult};
use common::job::spec::{ContentDigest, JobSpec, SourceRef};
use common::job::transition::Transition;
use common::job::worker::WorkerId;
use common::port::job_store::{AcquireRequest, Acquired, Idempotency, JobStore, NewJob, StoreRules};
use tests::redis_server::RedisServer;

const JOBS: u64 = 4000;
const AT_ONCE: u64 = 64;
const BYTES_MAX: u64 = 2048;

/// One field of `INFO memory`, asked without a client library.
fn used_memory(server: &RedisServer) -> u64 {
    let address = server.url().replace("redis://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"INFO memory\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    line.trim().parse().unwrap()
}

/// A job as `rollcall submit FILE --idempotency-key ... --tag ...` makes it; its result has every document there is.
fn typical(n: u64) -> NewJob {
    let digest = ContentDigest::of(&n.to_le_bytes());
    let mut spec = JobSpec::diarize(SourceRef {
        uri: format!("s3://bucket/prefix/inbox/{digest}.flac"),
        sha256: Some(digest),
        bytes: Some(12_345_678),
        duration: Some(Duration::from_millis(312_480)),
    });
    spec.bundle = Some("starter@2026.1".into());
    spec.tags.insert("meeting".into(), format!("weekly-{n}"));
    let mut random = [0; 16];
    random[..8].copy_from_slice(&n.to_le_bytes());
    let id = JobId::new(Timestamp::from_millis(1_700_000_000_000 + n), random);
    NewJob { idempotency: Some(Idempotency::new(&format!("key {n}")).unwrap()), ..NewJob::new(id, spec) }
}

fn result(n: u64) -> StoredResult {
    let names = [
        "segments.json",
        "turns.rttm",
        "subtitles.srt",
        "subtitles.vtt",
        "timeline.html",
        "transcript.txt",
        "embeddings.npy",
    ];
    let document = |name: &&str| Document {
        name: (*name).into(),
        bytes: 23_456,
        sha256: ContentDigest::of(format!("{name} {n}").as_bytes()),
    };
    StoredResult {
        documents: names.iter().map(document).collect(),
        audio: Duration::from_millis(312_480),
        audio_sha256: Some(ContentDigest::of(&n.to_le_bytes())),
        bundle: Some("starter@2026.1".into()),
        voices: None,
    }
}

async fn whole_life(store: &RedisJobStore, n: u64) {
    let new = typical(n);
    let (id, spec) = (new.id, new.spec.clone());
    store.insert(new).await.unwrap();
    let mut nonce = [1; 16];
    nonce[..8].copy_from_slice(&n.to_be_bytes());
    let worker: WorkerId = "host-0123456789ab".parse().unwrap();
    let lasts = Duration::from_secs(30);
    let request =
        AcquireRequest { job: id, worker, nonce: Nonce::new(nonce), lasts, called_at: Monotonic::default() };
    let Acquired::Granted(lease) = store.acquire(request).await.unwrap() else { panic!("it is available") };
    let result = result(n);
    store.settle(*lease.key(), Transition::complete(result.clone())).await.unwrap();
    store.mark_exported(id, cache_key(&spec, &result), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_takes_less_than_two_kibibytes() {
    for appendfsync in ["everysec", "always"] {
        let server = RedisServer::start(appendfsync);
        let store = RedisJobStore::new(RedisOptions::new(&server.url()), &StoreRules::default()).unwrap();
        whole_life(&store, JOBS).await;
        let (before, begun) = (used_memory(&server), Instant::now());
        let running: Vec<_> = (0..AT_ONCE)
            .map(|lane| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in (lane..JOBS).step_by(AT_ONCE as usize) {
                        whole_life(&store, n).await;
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        let took = begun.elapsed().as_secs_f64();
        // Relays empty the outbox; here nobody rings.
        while !store.claim_outbox(Lane::Normal, 1000, Duration::from_secs(60)).await.unwrap().is_empty() {}
        let bytes = (used_memory(&server) - before) / JOBS;
        eprintln!("{appendfsync}: {bytes} bytes a finished job, {:.0} whole lives/s", JOBS as f64 / took);
        if std::env::var("PROBE").is_ok() {
            eprintln!("{}", server.url());
            std::thread::sleep(Duration::from_secs(20));
        }
        assert!(bytes < BYTES_MAX, "{bytes} bytes a finished job");
    }
}
