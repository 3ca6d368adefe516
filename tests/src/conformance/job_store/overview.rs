//! The queue seen from outside.

use common::job::digest::ContentDigest;
use common::job::failure::FailureClass;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::transition::Transition;
use common::job::worker::WorkerInfo;
use common::port::job_store::{JobFilter, JobStore, NewJob, QueueStatus, Unready};
use common::port::key_store::{KeyId, KeyStore, NewKey, REVOKED_MAX, Scope};
use common::scaling::{ARRIVALS_OVER, Load};

use super::*;

/// Depth by lane and state, audio that waits, rates.
pub async fn the_queue_is_counted(bench: &impl Bench) {
    let store = bench.store(patient());
    let empty = store.status().await.unwrap();
    let nothing = QueueStatus { at: empty.at, ..empty.clone() };
    assert_eq!((empty.outbox(), empty.dead, empty.oldest, empty.drain()), (0, 0, None, Some(Duration::ZERO)));
    assert_eq!(nothing.audio_waiting, Duration::ZERO);
    let job = |n: u8, lane, delay| {
        let mut spec = spec();
        spec.lane = lane;
        spec.audio.duration = Some(Duration::from_secs(100));
        NewJob { delay, ..NewJob::new(id(n), spec) }
    };
    insert(&store, job(1, Lane::High, Duration::ZERO)).await;
    insert(&store, job(2, Lane::High, HOUR)).await;
    insert(&store, job(3, Lane::Low, Duration::ZERO)).await;
    insert(&store, job(4, Lane::Low, Duration::ZERO)).await;
    lease(&store, request(id(3), "w", 1, HOUR)).await;
    let key = lease(&store, request(id(4), "w", 2, HOUR)).await;
    store.settle(key, Transition::retry(failure(FailureClass::Retryable), HOUR)).await.unwrap();
    ended(&store, job(5, Lane::Normal, Duration::ZERO), Transition::complete(result())).await;
    bench.pass(&store, MOMENT * 2).await;
    let status = store.status().await.unwrap();
    let lane = |lane| {
        let depth = status.lane(lane);
        (depth.ready, depth.scheduled, depth.retryable, depth.running, depth.outbox)
    };
    assert_eq!(lane(Lane::High), (1, 1, 0, 0, 1));
    assert_eq!(lane(Lane::Normal), (0, 0, 0, 0, 1));
    assert_eq!(lane(Lane::Low), (0, 0, 1, 1, 2));
    assert_eq!(status.audio_waiting, Duration::from_secs(300));
    assert_eq!(status.outbox_oldest, status.oldest.max(status.outbox_oldest), "a bell's job waits");
    let Load { waiting_timed, ready_timed, ready_audio, running_timed, running_audio, .. } = status.load;
    assert_eq!((waiting_timed, ready_timed, running_timed), (3, 1, 1));
    assert_eq!((ready_audio, running_audio), (Duration::from_secs(100), Duration::from_secs(100)));
    // Four that were not put off, of 100 s each.
    let arriving = status.load.arriving.audio_s_per_s * ARRIVALS_OVER.as_secs_f64();
    assert!((350.0..400.1).contains(&arriving), "{arriving}");
    assert_eq!((status.load.arriving.untimed_per_s, status.load.capacity), (0.0, 0.0));
    assert!(status.oldest.unwrap() >= MOMENT);
    assert!(status.arrived_per_s > 0.0 && status.completed_per_s > 0.0);
    let (arrived, audio) = (status.arrived_per_s, status.audio_s_per_s);
    assert!((arrived / status.completed_per_s - 5.0).abs() < 1e-6, "five arrived, one was completed");
    assert!((audio / status.completed_per_s - 60.0).abs() < 1e-6, "of 60 s");
    store.request_cancel(id(1)).await.unwrap();
    store.request_cancel(id(2)).await.unwrap();
    store.request_cancel(id(4)).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!(status.audio_waiting, Duration::ZERO);
    assert_eq!((status.load.waiting_timed, status.load.ready_timed, status.load.running_timed), (0, 0, 1));
    let mut untimed = NewJob::new(id(6), spec());
    untimed.spec.audio.duration = None;
    insert(&store, untimed).await;
    let untimed = store.status().await.unwrap().load.arriving.untimed_per_s * ARRIVALS_OVER.as_secs_f64();
    assert!((0.9..1.001).contains(&untimed), "{untimed}");
    // A file so small that its size suggests no length at all.
    let mut short = NewJob::new(id(7), spec());
    (short.spec.audio.duration, short.spec.audio.bytes) = (None, Some(1));
    insert(&store, short).await;
    assert_eq!(store.status().await.unwrap().load.ready_timed, 1);
    lease(&store, request(id(7), "w", 3, HOUR)).await;
    let status = store.status().await.unwrap();
    assert_eq!((status.load.ready_timed, status.load.running_timed), (0, 2));
    assert_eq!(status.audio_waiting, Duration::ZERO);
}

/// Newest first, by state and tag.
pub async fn jobs_are_listed(bench: &impl Bench) {
    let store = bench.store(patient());
    for n in 1..=6_u8 {
        let mut spec = spec();
        spec.tags.insert("parity".into(), (n % 2).to_string());
        insert(&store, NewJob::new(id(n), spec)).await;
        bench.pass(&store, MOMENT).await;
    }
    ended_jobs(&store).await;
    let listed = async |state, tag: Option<&str>, limit| {
        let tag = tag.map(|value| ("parity".to_owned(), value.to_owned()));
        let listed = store.list(JobFilter { state, tag, limit, ..JobFilter::default() }).await.unwrap();
        assert_eq!(listed.unreadable, 0);
        listed.jobs.iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 100).await, [6, 5, 4, 3, 2, 1].map(id));
    assert_eq!(listed(None, None, 2).await, [6, 5].map(id));
    assert_eq!(listed(None, Some("1"), 2).await, [5, 3].map(id));
    assert_eq!(listed(None, Some("7"), 2).await, []);
    assert_eq!(listed(Some(JobState::Available), None, 9).await, [6, 5].map(id));
    assert_eq!(listed(Some(JobState::Running), None, 9).await, [id(4)]);
    assert_eq!(listed(Some(JobState::Discarded), None, 9).await, [id(3)]);
    assert_eq!(listed(Some(JobState::Cancelled), None, 9).await, [id(2)]);
    assert_eq!(listed(Some(JobState::Completed), Some("1"), 9).await, [id(1)]);
    assert_eq!(listed(Some(JobState::Retryable), None, 9).await, []);
    assert_eq!(listed(None, None, 0).await, []);
    let older = async |state, than: u8, limit| {
        let filter = JobFilter { state, limit, before: Some(id(than)), ..JobFilter::default() };
        let listed = store.list(filter).await.unwrap();
        listed.jobs.iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(older(None, 5, 2).await, [4, 3].map(id), "the next page");
    assert_eq!(older(None, 1, 2).await, []);
    assert_eq!(older(Some(JobState::Available), 6, 9).await, [id(5)]);
    assert_eq!(older(Some(JobState::Discarded), 4, 9).await, [id(3)]);
    assert_eq!(older(Some(JobState::Discarded), 3, 9).await, []);

    let unfinished = JobFilter { unfinished: true, limit: 9, ..JobFilter::default() };
    let listed = store.list(unfinished).await.unwrap();
    assert_eq!(listed.jobs.iter().map(|record| record.id).collect::<Vec<_>>(), [6, 5, 4].map(id));
    assert_eq!(listed.next, None);
}

/// However few records a listing may look at, its pages together are the whole, each goes on where the last one stopped,
/// and only the last has no next.
pub async fn pages_join_up(bench: &impl Bench) {
    let store = bench.store(patient());
    for n in 1..=9_u8 {
        let mut spec = spec();
        spec.tags.insert("rare".into(), (n == 2).to_string());
        spec.lane = Lane::ALL[usize::from(n % 3)];
        insert(&store, NewJob::new(id(n), spec)).await;
    }
    store.request_cancel(id(3)).await.unwrap();
    store.request_cancel(id(8)).await.unwrap();
    let rare = Some(("rare".to_owned(), "true".to_owned()));
    let available = Some(JobState::Available);
    for (state, unfinished, tag, all) in [
        (None, false, None, vec![9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (None, true, None, vec![9, 7, 6, 5, 4, 2, 1]),
        (available, false, None, vec![9, 7, 6, 5, 4, 2, 1]),
        (Some(JobState::Cancelled), false, None, vec![8, 3]),
        (None, false, rare.clone(), vec![2]),
        (available, false, rare, vec![2]),
        (Some(JobState::Running), false, None, vec![]),
    ] {
        for (limit, looks) in [(9, None), (2, None), (9, Some(1)), (2, Some(3)), (9, Some(0))] {
            let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
            loop {
                let tag = tag.clone();
                let filter = JobFilter { state, unfinished, tag, limit, before, looks };
                let page = store.list(filter).await.unwrap();
                assert!(page.jobs.len() <= looks.unwrap_or(9).max(1).min(limit), "{page:?}");
                seen.extend(page.jobs.iter().map(|record| record.id));
                pages += 1;
                let Some(next) = page.next else { break };
                assert!(before.is_none_or(|before| next < before) && pages < 20, "it goes on");
                before = Some(next);
            }
            assert_eq!(seen, all.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{state:?} {limit} {looks:?}");
        }
    }
}

async fn ended_jobs(store: &impl JobStore) {
    let key = lease(store, request(id(1), "w", 1, HOUR)).await;
    store.settle(key, Transition::complete(result())).await.unwrap();
    store.request_cancel(id(2)).await.unwrap();
    let key = lease(store, request(id(3), "w", 1, HOUR)).await;
    store.settle(key, Transition::discard(failure(FailureClass::Permanent))).await.unwrap();
    lease(store, request(id(4), "w", 1, HOUR)).await;
}

/// Workers are alive as long as they say so.
pub async fn workers_come_and_go(bench: &impl Bench) {
    let store = bench.store(patient());
    let info = |name: &str, jobs| WorkerInfo {
        id: worker(name),
        host: "host \"1\"".into(),
        device: "cuda:0".into(),
        device_name: "A card".into(),
        bundle: "starter".into(),
        version: "1".into(),
        jobs,
        slots: 4,
        audio_s_per_s: 12.5,
        capacity: Some(25.5),
        draining: false,
    };
    store.heartbeat(&info("b", 0), HOUR).await.unwrap();
    store.heartbeat(&info("a", 1), HOUR).await.unwrap();
    store.heartbeat(&info("b", 2), HOUR).await.unwrap();
    store.heartbeat(&info("gone", 0), MOMENT).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    let alive: Vec<_> = store.workers().await.unwrap().into_iter().map(|seen| seen.info).collect();
    assert_eq!(alive, [info("a", 1), info("b", 2)]);
    assert!(store.workers().await.unwrap()[0].last_seen >= MOMENT);
    assert_eq!(store.status().await.unwrap().workers_alive, 2);
    let draining = async |draining| {
        store.heartbeat(&WorkerInfo { draining, ..info("a", 1) }, HOUR).await.unwrap();
        let status = store.status().await.unwrap();
        (status.workers_alive, status.load.draining)
    };
    assert_eq!(draining(true).await, (2, 1));
    assert_eq!(draining(false).await, (2, 0));
    assert_eq!(draining(true).await, (2, 1));
    store.farewell(&worker("a")).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.workers_alive, status.load.capacity, status.load.draining), (1, 25.5, 0));
    let faster = WorkerInfo { capacity: Some(45.5), ..info("b", 2) };
    store.heartbeat(&faster, HOUR).await.unwrap();
    store.heartbeat(&WorkerInfo { capacity: None, ..faster }, HOUR).await.unwrap();
    let capacity = store.status().await.unwrap().load.capacity;
    assert!((capacity - 26.5).abs() < 1e-6, "{capacity}");
}

/// Asking for a job that nobody submitted is no error.
pub async fn unknown_jobs_are_unknown(bench: &impl Bench) {
    let store = bench.store(patient());
    assert_eq!(store.get(id(1)).await.unwrap(), None);
    assert_eq!(store.request_cancel(id(1)).await.unwrap(), None);
    assert_eq!(store.retry(id(1)).await.unwrap(), None);
    assert_eq!(store.purge(id(1)).await.unwrap(), None);
    assert_eq!(refusal(&store, request(id(1), "w", 1, HOUR)).await, Unready::Unknown);
    store.mark_exported(id(1), None, None).await.unwrap();
    store.delete_outbox(&[]).await.unwrap();
    store.delete_sweeps(&[]).await.unwrap();
    assert_eq!(store.promote_due(10).await.unwrap(), 0);
}

/// Keys are found by their id, listed by age, and revoked once.
pub async fn keys_are_kept(bench: &impl Bench) {
    let store = bench.store(patient());
    let new = |n: u8, scopes: &[Scope]| NewKey {
        id: KeyId::new([n; 6]),
        name: format!("key \"{n}\""),
        sha256: ContentDigest::of(&[n]),
        scopes: scopes.to_vec(),
    };
    let (one, two) = (new(2, &[Scope::Read, Scope::Submit]), new(1, &[Scope::Admin]));
    assert_eq!(store.find_key(&one.id).await.unwrap(), None);
    assert_eq!(store.revoke_key(&one.id).await.unwrap(), None);
    store.create_key(one.clone()).await.unwrap();
    let made = store.find_key(&one.id).await.unwrap().unwrap();
    assert_eq!((&made.key, made.revoked_at), (&one, None));
    store.create_key(NewKey { name: "other".to_owned(), ..one.clone() }).await.unwrap();
    assert_eq!(store.find_key(&one.id).await.unwrap().unwrap(), made, "repeated it changes nothing");
    bench.pass(&store, MOMENT).await;
    store.create_key(two.clone()).await.unwrap();
    assert_eq!(store.revoke_key(&one.id).await.unwrap(), Some(true));
    assert_eq!(store.revoke_key(&one.id).await.unwrap(), Some(false));
    let revoked = store.find_key(&one.id).await.unwrap().unwrap();
    assert!(revoked.revoked_at.is_some_and(|at| at >= made.created_at));
    let all = store.keys().await.unwrap();
    assert_eq!(
        all.iter().map(|key| &key.key).collect::<Vec<_>>(),
        [&one, &two],
        "by age, the revoked one too"
    );
}

/// Revoked keys are remembered up to a bound, those revoked last; good ones stay.
pub async fn revoked_keys_are_forgotten_in_the_end(bench: &impl Bench) {
    let store = bench.store(patient());
    let key = |n: u16| {
        let [a, b] = n.to_be_bytes();
        NewKey {
            id: KeyId::new([a, b, 0, 0, 0, 0]),
            name: "k".to_owned(),
            sha256: ContentDigest::of(&[a, b]),
            scopes: vec![Scope::Read],
        }
    };
    let most = u16::try_from(REVOKED_MAX).expect("it is small");
    let made = futures::future::join_all((0..most + 3).map(|n| store.create_key(key(n)))).await;
    assert!(made.into_iter().all(|made| made.is_ok()));
    assert_eq!(store.revoke_key(&key(7).id).await.unwrap(), Some(true));
    bench.pass(&store, MOMENT * 2).await;
    let others = (1..most + 1).filter(|n| *n != 7).map(|n| key(n).id).collect::<Vec<_>>();
    let revoked = futures::future::join_all(others.iter().map(|id| store.revoke_key(id))).await;
    assert!(revoked.into_iter().all(|revoked| revoked == Ok(Some(true))));
    assert!(store.find_key(&key(7).id).await.unwrap().is_some(), "so many are remembered");
    assert_eq!(store.revoke_key(&key(0).id).await.unwrap(), Some(true));
    assert_eq!(store.find_key(&key(7).id).await.unwrap(), None, "the one revoked first is forgotten");
    let all = store.keys().await.unwrap();
    assert_eq!(
        (all.len(), all.iter().filter(|key| key.revoked_at.is_none()).count()),
        (usize::from(most) + 2, 2)
    );
}
