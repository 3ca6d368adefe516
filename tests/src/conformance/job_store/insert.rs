//! How jobs come in.

use common::job::record::JobState;
use common::job::retry::{AfterCrash, after_crash};
use common::job::spec::{CacheKey, ContentDigest, Limits};
use common::job::transition::{Ended, Transition};
use common::port::job_store::{Idempotency, Inserted, JobStore, NewJob, Unready};

use super::*;

/// An accepted job is available, has one bell, and inserting it again changes nothing.
pub async fn a_job_is_accepted_with_its_bell(bench: &impl Bench) {
    let store = bench.store(patient());
    let accepted = insert(&store, NewJob::new(id(1), spec())).await;
    assert_eq!((accepted.state, accepted.token, accepted.attempts), (JobState::Available, 0, 0));
    assert_eq!(record(&store, id(1)).await, accepted);
    let again = store.insert(NewJob::new(id(1), spec())).await.unwrap();
    assert_eq!(again, Inserted::Accepted(accepted));
    assert_eq!(bells(&store).await, [id(1)]);
    assert_eq!(bells(&store).await, [], "a claimed bell is hidden");
}

/// The same idempotency key gives the same job, whatever the second submission says.
pub async fn the_same_key_gives_the_same_job(bench: &impl Bench) {
    let store = bench.store(patient());
    let keyed = |n: u8, key: &str| NewJob {
        idempotency: Some(Idempotency::new(key).unwrap()),
        ..NewJob::new(id(n), spec())
    };
    let first = insert(&store, keyed(1, "k")).await;
    let second = store.insert(keyed(2, "k")).await.unwrap();
    assert_eq!(second, Inserted::Same(first));
    assert_eq!(store.get(id(2)).await.unwrap(), None);
    insert(&store, keyed(3, "other")).await;
    assert_eq!(bells(&store).await, [id(1), id(3)]);
}

/// A result serves again once it is exported, as a job of its own that names its source.
pub async fn an_exported_result_serves_again(bench: &impl Bench) {
    let store = bench.store(patient());
    let audio = ContentDigest::of(b"audio");
    let cache = CacheKey::of(&spec(), audio, "starter@1");
    let asking = |n: u8| NewJob { cache, ..NewJob::new(id(n), spec()) };
    ended(&store, asking(1), Transition::complete(result())).await;
    insert(&store, asking(2)).await;
    store.mark_exported(id(1), cache, None).await.unwrap();
    let Inserted::Cached(cached) = store.insert(asking(3)).await.unwrap() else { panic!("the cache has it") };
    assert_eq!((cached.state, cached.cached_from), (JobState::Completed, Some(id(1))));
    assert_eq!((&cached.result, cached.exported_at), (&Some(result()), None));
    assert_eq!(record(&store, id(3)).await, cached);
    assert_eq!(store.insert(asking(3)).await.unwrap(), Inserted::Cached(cached.clone()));
    let left = store.claim_exports(10, HOUR).await.unwrap();
    assert_eq!(left, [cached], "its own files are to be made at once");
    assert_eq!(refusal(&store, request(id(3), "w", 1, HOUR)).await, Unready::Final(JobState::Completed));
    insert(&store, NewJob::new(id(4), spec())).await;
}

/// Content whose job was discarded for crashes, alone each time, is refused unless forced.
pub async fn poison_is_refused(bench: &impl Bench) {
    let store = bench.store(patient());
    let mut poison = spec();
    poison.limits = Limits { crashes_max: 2, ..Limits::default() };
    insert(&store, NewJob::new(id(1), poison.clone())).await;
    for crash in 0..2 {
        let key = lease(&store, request(id(1), "w", crash, MOMENT)).await;
        bench.pass(&store, MOMENT * 2).await;
        let after = after_crash(crash.into(), &poison.limits);
        assert!(matches!(store.end_lease(key, after).await.unwrap(), Ended::Now(_)));
    }
    assert_eq!(state(&store, id(1)).await, JobState::Discarded);
    let refused = store.insert(NewJob::new(id(2), poison.clone())).await.unwrap();
    assert_eq!(refused, Inserted::Poison { job: id(1) });
    assert_eq!(store.get(id(2)).await.unwrap(), None);
    insert(&store, NewJob { force: true, ..NewJob::new(id(2), poison.clone()) }).await;
    poison.audio.uri = "s3://bucket/other.wav".into();
    insert(&store, NewJob::new(id(3), poison)).await;
}

/// A lost job among others is discarded, but its content is not blamed.
pub async fn company_is_no_poison(bench: &impl Bench) {
    let store = bench.store(patient());
    let mut guilty = spec();
    guilty.limits = Limits { crashes_max: 1, ..Limits::default() };
    let (first, second) = (NewJob::new(id(1), guilty.clone()), NewJob::new(id(2), guilty.clone()));
    insert(&store, first).await;
    insert(&store, second).await;
    let one = lease(&store, request(id(1), "w", 1, MOMENT)).await;
    let two = lease(&store, request(id(2), "w", 2, MOMENT)).await;
    bench.pass(&store, MOMENT * 2).await;
    for key in [one, two] {
        let ended = store.end_lease(key, AfterCrash::Discard).await.unwrap();
        assert_eq!(ended, Ended::Now(JobState::Discarded));
        assert_eq!(record(&store, key.job).await.crashes_alone, 0, "the other one was there, too");
    }
    insert(&store, NewJob::new(id(3), guilty)).await;
}

/// A delayed job is scheduled, has no bell, and becomes available when due.
pub async fn a_delayed_job_waits(bench: &impl Bench) {
    let store = bench.store(patient());
    let later = NewJob { delay: HOUR, ..NewJob::new(id(1), spec()) };
    let soon = |n: u8| NewJob { delay: MOMENT, ..NewJob::new(id(n), spec()) };
    let waiting = insert(&store, later).await;
    assert_eq!((waiting.state, waiting.available_at), (JobState::Scheduled, waiting.created_at.plus(HOUR)));
    let due = refusal(&store, request(id(1), "w", 1, HOUR)).await;
    assert_eq!(due, Unready::NotDue { due: waiting.available_at });
    insert(&store, soon(2)).await;
    insert(&store, soon(3)).await;
    bench.pass(&store, MOMENT * 2).await;
    lease(&store, request(id(3), "w", 1, HOUR)).await;
    assert_eq!(bells(&store).await, []);
    assert_eq!(store.promote_due(10).await.unwrap(), 1);
    assert_eq!((state(&store, id(2)).await, bells(&store).await), (JobState::Available, vec![id(2)]));
    assert_eq!(state(&store, id(1)).await, JobState::Scheduled);
}
