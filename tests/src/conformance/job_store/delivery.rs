//! How jobs are taken, kept and ended.

use common::clock::Monotonic;
use common::job::failure::{FailureClass, FailureCode, Stage};
use common::job::record::{JobState, Progress};
use common::job::retry::AfterCrash;
use common::job::spec::Limits;
use common::job::transition::{Cancel, Ended, Retried, Settled, Transition};
use common::port::job_store::{Extension, JobStore, NewJob, Reported, Unready};

use super::*;

/// One worker gets the job; asking again with the same nonce gives the same lease.
pub async fn a_lease_is_given_once(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    let Acquired::Granted(granted) = store.acquire(request(id(1), "w1", 1, HOUR)).await.unwrap() else {
        panic!("the job is available");
    };
    assert_eq!((granted.key().token, granted.attempt, &granted.payload), (1, 1, &spec()));
    assert_eq!(granted.deadline(), Monotonic::from_millis(1000).plus(HOUR));
    let held = record(&store, id(1)).await;
    assert_eq!((held.state, held.worker.clone()), (JobState::Running, Some(worker("w1"))));
    assert_eq!(held.lease_key(), Some(*granted.key()));
    assert_eq!(refusal(&store, request(id(1), "w2", 2, HOUR)).await, Unready::Running);
    let again = store.acquire(request(id(1), "w1", 1, HOUR)).await.unwrap();
    assert_eq!(again, Acquired::Granted(granted));
    assert_eq!(record(&store, id(1)).await, held);
}

/// Extending, reporting and settling need the lease; settling twice tells so.
pub async fn only_the_holder_writes(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    let key = lease(&store, request(id(1), "w1", 1, HOUR)).await;
    let progress = Progress { stage: Stage::Decode, percent: 40 };
    let before = record(&store, id(1)).await;
    let wrong = [
        LeaseKey { token: key.token + 1, ..key },
        LeaseKey { token: key.token - 1, ..key },
        LeaseKey { nonce: Nonce::new([2; 16]), ..key },
        LeaseKey { job: id(9), ..key },
    ];
    for key in wrong {
        assert_eq!(store.extend(key, HOUR, Monotonic::default()).await.unwrap(), Extension::Lost);
        assert_eq!(store.report(key, progress).await.unwrap(), Reported::Lost);
        assert_eq!(store.settle(key, Transition::complete(result())).await.unwrap(), Settled::Lost);
    }
    assert_eq!(record(&store, id(1)).await, before);
    let extended = store.extend(key, HOUR, Monotonic::from_millis(7)).await.unwrap();
    let deadline = Monotonic::from_millis(7).plus(HOUR);
    assert_eq!(extended, Extension::Held { deadline, cancel_requested: false });
    assert_eq!(store.report(key, progress).await.unwrap(), Reported::Held { cancel_requested: false });
    assert_eq!(record(&store, id(1)).await.progress, Some(progress));
    let settled = store.settle(key, Transition::complete(result())).await.unwrap();
    assert_eq!(settled, Settled::Applied(JobState::Completed));
    let done = record(&store, id(1)).await;
    assert_eq!((&done.result, done.progress, done.lease_expires_at), (&Some(result()), None, None));
    assert!(done.completed_at.is_some() && done.exported_at.is_none());
    let again = store.settle(key, Transition::interrupt()).await.unwrap();
    assert_eq!(again, Settled::Already(JobState::Completed));
    assert_eq!(record(&store, id(1)).await, done);
}

/// A lease that runs out costs a crash and its token; the job is available again.
pub async fn a_lost_worker_costs_a_crash(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    bells(&store).await;
    let key = lease(&store, request(id(1), "w1", 1, MOMENT)).await;
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.extend(key, HOUR, Monotonic::default()).await.unwrap(), Extension::Lost);
    let expired = store.expired_leases(10).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!((expired[0].key, expired[0].crashes, expired[0].limits), (key, 0, Limits::default()));
    let ended = store.end_lease(key, AfterCrash::Again).await.unwrap();
    assert_eq!(ended, Ended::Now(JobState::Available));
    assert_eq!(store.end_lease(key, AfterCrash::Again).await.unwrap(), Ended::NotExpired);
    assert_eq!(store.settle(key, Transition::complete(result())).await.unwrap(), Settled::Lost);
    assert_eq!(store.expired_leases(10).await.unwrap(), []);
    let again = record(&store, id(1)).await;
    assert_eq!((again.crashes, again.crashes_alone, again.attempts), (1, 1, 0));
    assert_eq!(bells(&store).await, [id(1)]);
    let Acquired::Granted(next) = store.acquire(request(id(1), "w2", 2, HOUR)).await.unwrap() else {
        panic!("the job is available");
    };
    assert!(next.key().token > key.token);
    assert_eq!((next.attempt, next.crashes), (2, 1));
    assert_eq!(store.settle(key, Transition::interrupt()).await.unwrap(), Settled::Lost);
}

/// Rescue that decided on an old sight of the lease does no harm.
pub async fn an_extended_lease_is_not_ended(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    let key = lease(&store, request(id(1), "w1", 1, HOUR)).await;
    assert_eq!(store.expired_leases(10).await.unwrap(), []);
    assert_eq!(store.end_lease(key, AfterCrash::Discard).await.unwrap(), Ended::NotExpired);
    assert_eq!(state(&store, id(1)).await, JobState::Running);
    // A lease that ran out but was not ended yet may still be settled: nobody else has the job.
    insert(&store, NewJob::new(id(2), spec())).await;
    let late = lease(&store, request(id(2), "w1", 1, MOMENT)).await;
    bench.pass(&store, MOMENT * 2).await;
    let settled = store.settle(late, Transition::complete(result())).await.unwrap();
    assert_eq!(settled, Settled::Applied(JobState::Completed));
    assert_eq!(store.end_lease(late, AfterCrash::Again).await.unwrap(), Ended::NotExpired);
}

/// The last crash makes a dead letter that says where the worker vanished.
pub async fn the_last_crash_discards(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    let key = lease(&store, request(id(1), "w1", 1, MOMENT)).await;
    store.report(key, Progress { stage: Stage::Embedding, percent: 70 }).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    let ended = store.end_lease(key, AfterCrash::Discard).await.unwrap();
    assert_eq!(ended, Ended::Now(JobState::Discarded));
    let dead = record(&store, id(1)).await;
    let why = dead.failure.unwrap();
    assert_eq!((why.code, why.stage, dead.crashes), (FailureCode::WorkerLost, Stage::Embedding, 1));
    assert_eq!(store.status().await.unwrap().dead, 1);
}

/// A failed attempt counts, waits, and comes back; the last one counts too.
pub async fn a_failed_attempt_waits_and_counts(bench: &impl Bench) {
    let store = bench.store(patient());
    let retryable = || failure(FailureClass::Retryable);
    ended(&store, NewJob::new(id(1), spec()), Transition::retry(retryable(), HOUR)).await;
    let waiting = record(&store, id(1)).await;
    assert_eq!((waiting.state, waiting.attempts), (JobState::Retryable, 1));
    assert_eq!(waiting.failure, Some(retryable()));
    let due = refusal(&store, request(id(1), "w", 2, HOUR)).await;
    assert_eq!(due, Unready::NotDue { due: waiting.available_at });
    assert_eq!(store.promote_due(10).await.unwrap(), 0);

    ended(&store, NewJob::new(id(2), spec()), Transition::retry(retryable(), MOMENT)).await;
    bells(&store).await;
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.promote_due(10).await.unwrap(), 1);
    assert_eq!(bells(&store).await, [id(2)]);
    let key = lease(&store, request(id(2), "w", 2, HOUR)).await;
    let last =
        Transition::after_failure(retryable(), 1, &Limits { attempts_max: 2, ..Limits::default() }, 0.5);
    assert_eq!(store.settle(key, last).await.unwrap(), Settled::Applied(JobState::Discarded));
    let dead = record(&store, id(2)).await;
    assert_eq!((dead.attempts, dead.failure.unwrap().code), (2, FailureCode::AttemptsExhausted));
}

/// Handing back costs nothing and rings at once.
pub async fn an_interruption_is_free(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    bells(&store).await;
    for nonce in 1..=20 {
        let key = lease(&store, request(id(1), "w", nonce, HOUR)).await;
        let settled = store.settle(key, Transition::interrupt()).await.unwrap();
        assert_eq!(settled, Settled::Applied(JobState::Available));
        assert_eq!(bells(&store).await, [id(1)]);
        let again = store.settle(key, Transition::interrupt()).await.unwrap();
        assert_eq!(again, Settled::Already(JobState::Available));
    }
    let back = record(&store, id(1)).await;
    assert_eq!((back.attempts, back.crashes, back.interruptions, back.token), (0, 0, 20, 20));
}

/// Waiting jobs are cancelled at once, ended ones not at all.
pub async fn a_waiting_job_is_cancelled_at_once(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, NewJob::new(id(1), spec())).await;
    insert(&store, NewJob { delay: HOUR, ..NewJob::new(id(2), spec()) }).await;
    let retry = Transition::retry(failure(FailureClass::Retryable), HOUR);
    ended(&store, NewJob::new(id(3), spec()), retry).await;
    for n in 1..=3 {
        assert_eq!(store.request_cancel(id(n)).await.unwrap(), Some(Cancel::Done));
        assert_eq!(state(&store, id(n)).await, JobState::Cancelled);
        let again = store.request_cancel(id(n)).await.unwrap();
        assert_eq!(again, Some(Cancel::Final(JobState::Cancelled)));
        assert_eq!(refusal(&store, request(id(n), "w", 9, HOUR)).await, Unready::Final(JobState::Cancelled));
    }
    assert_eq!(bells(&store).await, []);
    ended(&store, NewJob::new(id(4), spec()), Transition::complete(result())).await;
    assert_eq!(store.request_cancel(id(4)).await.unwrap(), Some(Cancel::Final(JobState::Completed)));
}

/// Once a cancel is requested, no ending but cancelled is possible, and the holder is told.
pub async fn a_running_job_is_cancelled_by_any_ending(bench: &impl Bench) {
    let store = bench.store(patient());
    let endings = [
        Transition::complete(result()),
        Transition::retry(failure(FailureClass::Retryable), HOUR),
        Transition::discard(failure(FailureClass::Permanent)),
        Transition::interrupt(),
        Transition::cancel(),
    ];
    for (n, ending) in (1..).zip(endings) {
        insert(&store, NewJob::new(id(n), spec())).await;
        let key = lease(&store, request(id(n), "w1", n, HOUR)).await;
        assert_eq!(store.request_cancel(id(n)).await.unwrap(), Some(Cancel::Requested));
        assert_eq!(store.next_cancels(&worker("w2"), Duration::ZERO).await.unwrap(), []);
        assert_eq!(store.next_cancels(&worker("w1"), MOMENT).await.unwrap(), [id(n)]);
        assert_eq!(store.next_cancels(&worker("w1"), MOMENT).await.unwrap(), []);
        let extended = store.extend(key, HOUR, Monotonic::default()).await.unwrap();
        assert!(matches!(extended, Extension::Held { cancel_requested: true, .. }));
        let reported = store.report(key, Progress { stage: Stage::Decode, percent: 1 }).await.unwrap();
        assert_eq!(reported, Reported::Held { cancel_requested: true });
        assert_eq!(state(&store, id(n)).await, JobState::Running);
        assert_eq!(store.settle(key, ending).await.unwrap(), Settled::Applied(JobState::Cancelled));
        let stopped = record(&store, id(n)).await;
        assert_eq!((stopped.result, stopped.attempts, stopped.interruptions), (None, 0, 0));
    }
    insert(&store, NewJob::new(id(9), spec())).await;
    let key = lease(&store, request(id(9), "w1", 9, MOMENT)).await;
    store.request_cancel(id(9)).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.end_lease(key, AfterCrash::Again).await.unwrap(), Ended::Now(JobState::Cancelled));
}

/// A person can retry what was discarded or cancelled: counts start again, the token goes on.
pub async fn only_dead_and_cancelled_jobs_are_retried(bench: &impl Bench) {
    let store = bench.store(patient());
    let dead =
        ended(&store, NewJob::new(id(1), spec()), Transition::discard(failure(FailureClass::Permanent)))
            .await;
    assert_eq!(store.status().await.unwrap().dead, 1);
    bells(&store).await;
    assert_eq!(store.retry(id(1)).await.unwrap(), Some(Retried::Done));
    let back = record(&store, id(1)).await;
    assert_eq!((back.state, back.failure, back.completed_at), (JobState::Available, None, None));
    assert_eq!((back.attempts, back.crashes, back.interruptions, back.token), (0, 0, 0, dead.token));
    assert_eq!((store.status().await.unwrap().dead, bells(&store).await), (0, vec![id(1)]));
    assert_eq!(store.retry(id(1)).await.unwrap(), Some(Retried::Not(JobState::Available)));
    let key = lease(&store, request(id(1), "w", 2, HOUR)).await;
    assert!(key.token > dead.token);
    assert_eq!(store.retry(id(1)).await.unwrap(), Some(Retried::Not(JobState::Running)));
    store.request_cancel(id(1)).await.unwrap();
    store.settle(key, Transition::cancel()).await.unwrap();
    assert_eq!(store.retry(id(1)).await.unwrap(), Some(Retried::Done));
    let key = lease(&store, request(id(1), "w", 3, HOUR)).await;
    let settled = store.settle(key, Transition::complete(result())).await.unwrap();
    assert_eq!(settled, Settled::Applied(JobState::Completed), "the old cancel is forgotten");
    assert_eq!(store.retry(id(1)).await.unwrap(), Some(Retried::Not(JobState::Completed)));
}
