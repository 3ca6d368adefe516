//! The job store when Redis is away, refuses, or dies.

#![allow(clippy::unwrap_used, reason = "in this crate a panic is the report")]

use std::time::{Duration, Instant};

use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::clock::Timestamp;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::spec::{JobSpec, SourceRef};
use common::port::job_store::{Inserted, JobFilter, JobStore, JobStoreError, NewJob, StoreRules};
use tests::redis_server::RedisServer;

fn store(url: &str, budget: Duration) -> RedisJobStore {
    let options = RedisOptions { budget, ..RedisOptions::new(url) };
    RedisJobStore::new(options, &StoreRules::default()).unwrap()
}

fn job(n: u64) -> NewJob {
    let mut random = [0; 16];
    random[..8].copy_from_slice(&n.to_le_bytes());
    let id = JobId::new(Timestamp::from_millis(1_700_000_000_000 + n), random);
    NewJob::new(id, JobSpec::diarize(SourceRef::at("s3://bucket/a.wav")))
}

#[tokio::test]
async fn nobody_there_is_said_in_time() {
    let begun = Instant::now();
    let answer = store("redis://127.0.0.1:1", Duration::from_millis(300)).status().await;
    let Err(JobStoreError::Unavailable { endpoint, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!(endpoint, "redis://127.0.0.1:1");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once_and_not_shown() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    for url in [server.url(), server.url().replace("://", "://:wr0ng@")] {
        let begun = Instant::now();
        let answer = store(&url, Duration::from_secs(60)).status().await;
        let Err(error @ JobStoreError::Refused { .. }) = answer else { panic!("{answer:?}") };
        assert!(!error.to_string().contains("wr0ng"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
    let right = server.url().replace("://", "://:right@");
    store(&right, Duration::from_secs(5)).status().await.unwrap();
    let unreadable = RedisJobStore::new(RedisOptions::new("nowhere"), &StoreRules::default());
    assert!(matches!(unreadable, Err(JobStoreError::Refused { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_outlives_the_server() {
    let mut server = RedisServer::start("always");
    let store = store(&server.url(), Duration::from_secs(20));
    let submitting = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..600 {
                let inserted = store.insert(job(n)).await.unwrap();
                assert!(matches!(inserted, Inserted::Accepted(_)), "{inserted:?}");
            }
        })
    };
    for _ in 0..3 {
        let seen = store.status().await.unwrap().depth[1].ready;
        // Dies in the middle of the stream, not between two of these tests' steps.
        while !submitting.is_finished() && store.status().await.unwrap().depth[1].ready < seen + 50 {}
        server.restart();
    }
    submitting.await.unwrap();
    let all = store.list(JobFilter { limit: 1000, ..JobFilter::default() }).await.unwrap().jobs;
    assert_eq!(all.len(), 600, "each once");
    let mut bells = 0;
    loop {
        let claimed = store.claim_outbox(Lane::Normal, 1000, Duration::from_secs(60)).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        bells += claimed.len();
    }
    assert_eq!(bells, 600, "each with its one bell");
}

/// A clock that was set back, or came from the future and left such times behind: what arrives is no more for it.
#[tokio::test]
async fn a_clock_that_was_set_back_multiplies_nothing() {
    let server = RedisServer::start("no");
    let store = store(&server.url(), Duration::from_secs(5));
    store.insert(job(1)).await.unwrap();
    let before = store.status().await.unwrap().load.arriving.untimed_per_s;
    assert!(before > 0.0);
    // In six days; and what an earlier version may have written of it.
    let later = store.time().await.unwrap().as_millis() + 6 * 86_400_000;
    for (at, flow) in [(later, "0"), (0, "inf"), (0, "-nan")] {
        server.tell(&format!("HSET rollcall:totals at {at} flow {flow}"));
        let arriving = store.status().await.unwrap().load.arriving;
        assert!(arriving.untimed_per_s <= 1.001 * before && arriving.audio_s_per_s == 0.0, "{arriving:?}");
    }
    store.insert(job(2)).await.unwrap();
    let after = store.status().await.unwrap().load.arriving;
    assert!(after.untimed_per_s <= 2.001 * before && after.audio_s_per_s == 0.0, "{after:?}");
}
