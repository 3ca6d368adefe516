//! What relay and rescue work through.

use common::job::failure::FailureClass;
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::spec::CacheKey;
use common::job::transition::Transition;
use common::port::job_store::{
    Idempotency, JobStore, NewJob, StoreRules, WebhookAnswer, WebhookClaim, WebhookDue, WebhookOutcome,
};

use super::*;

fn in_lane(n: u8, lane: Lane) -> NewJob {
    let mut spec = spec();
    spec.lane = lane;
    NewJob::new(id(n), spec)
}

/// Bells come by lane, oldest first; a claim hides them until it lapses; deleted they are gone.
pub async fn bells_are_claimed_by_lane(bench: &impl Bench) {
    let store = bench.store(patient());
    for (n, lane) in [(1, Lane::Low), (2, Lane::High), (3, Lane::Normal), (4, Lane::High), (5, Lane::High)] {
        insert(&store, in_lane(n, lane)).await;
        bench.pass(&store, MOMENT).await;
    }
    let first = store.claim_outbox(Lane::High, 2, MOMENT).await.unwrap();
    assert_eq!(
        first.iter().map(|e| (e.job, e.lane)).collect::<Vec<_>>(),
        [(id(2), Lane::High), (id(4), Lane::High)]
    );
    let other = store.claim_outbox(Lane::Low, 2, MOMENT).await.unwrap();
    assert_eq!(other.iter().map(|e| (e.job, e.lane)).collect::<Vec<_>>(), [(id(1), Lane::Low)]);
    bench.pass(&store, MOMENT * 2).await;
    store.delete_outbox(&first[..1]).await.unwrap();
    store.delete_outbox(&first[..1]).await.unwrap();
    let mut left = bells(&store).await;
    left.sort_unstable();
    assert_eq!(left, [id(1), id(3), id(4), id(5)]);
    assert_eq!(store.status().await.unwrap().outbox(), 4);
}

/// Who hears of no job is told of those that wait, by lane, the oldest first, each to one asker at a time.
pub async fn waiting_jobs_are_told_of(bench: &impl Bench) {
    let store = bench.store(patient());
    let ask = async |lanes: &[Lane], claim| store.claim_unheard(lanes, MOMENT * 2, claim).await.unwrap();
    for (n, lane) in [(1, Lane::Low), (2, Lane::Normal), (3, Lane::Normal), (4, Lane::High)] {
        insert(&store, in_lane(n, lane)).await;
        bench.pass(&store, Duration::from_millis(2)).await;
    }
    let later = NewJob { delay: HOUR, ..in_lane(5, Lane::High) };
    insert(&store, later).await;
    assert_eq!(store.claim_unheard(&Lane::ALL, HOUR, HOUR).await.unwrap(), None);
    bench.pass(&store, MOMENT * 3).await;
    // In whichever order the lanes are named.
    let lower = [Lane::Low, Lane::Normal];
    for expected in [Some(id(2)), Some(id(3)), Some(id(1)), None] {
        assert_eq!(ask(&lower, HOUR).await, expected);
    }
    assert_eq!(ask(&[], HOUR).await, None);
    assert_eq!(ask(&Lane::ALL, MOMENT).await, Some(id(4)));
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!((ask(&Lane::ALL, HOUR).await, ask(&Lane::ALL, HOUR).await), (Some(id(4)), None));
    // What was taken and given back waits anew, and is told of anew.
    let key = lease(&store, request(id(2), "w", 1, HOUR)).await;
    assert_eq!(ask(&Lane::ALL, HOUR).await, None);
    store.settle(key, Transition::interrupt()).await.unwrap();
    bench.pass(&store, MOMENT * 3).await;
    assert_eq!(ask(&Lane::ALL, HOUR).await, Some(id(2)));
}

/// How long the oldest bell has waited does not depend on who has claimed it.
pub async fn a_claimed_bell_keeps_its_age(bench: &impl Bench) {
    let store = bench.store(patient());
    insert(&store, in_lane(1, Lane::Normal)).await;
    bench.pass(&store, MOMENT * 50).await;
    assert_eq!(store.claim_outbox(Lane::Normal, 1, HOUR).await.unwrap().len(), 1);
    insert(&store, in_lane(2, Lane::Normal)).await;
    let oldest = store.status().await.unwrap().outbox_oldest.unwrap();
    assert!(oldest >= MOMENT * 50, "{oldest:?}");
}

/// Bells of jobs that nobody can take are dropped, not published; two bells of one job are two.
pub async fn idle_bells_are_dropped(bench: &impl Bench) {
    let store = bench.store(patient());
    for n in 1..=4 {
        insert(&store, in_lane(n, Lane::Normal)).await;
    }
    store.request_cancel(id(1)).await.unwrap();
    lease(&store, request(id(2), "w", 1, HOUR)).await;
    let key = lease(&store, request(id(3), "w", 2, HOUR)).await;
    store.settle(key, Transition::interrupt()).await.unwrap();
    let claimed = store.claim_outbox(Lane::Normal, 10, HOUR).await.unwrap();
    let mut jobs: Vec<_> = claimed.iter().map(|entry| entry.job).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, [id(3), id(3), id(4)]);
    assert_eq!(store.status().await.unwrap().outbox(), 3);
    store.delete_outbox(&claimed).await.unwrap();
    assert_eq!(store.status().await.unwrap().outbox(), 0);
}

/// Rescue rings what has waited, at most as many as asked, at doubling intervals.
pub async fn lost_bells_are_rung_again(bench: &impl Bench) {
    let rules = StoreRules { bell_first: MOMENT, bell_max: HOUR, ..patient() };
    let store = bench.store(rules);
    let rescuer = worker("r");
    assert!(store.rescue_turn(&rescuer, HOUR).await.unwrap());
    for n in 1..=3 {
        insert(&store, in_lane(n, Lane::Low)).await;
        bench.pass(&store, MOMENT).await;
    }
    bells(&store).await;
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.ring(&rescuer, Lane::High, 10).await.unwrap(), 0);
    assert_eq!(store.ring(&rescuer, Lane::Low, 2).await.unwrap(), 2);
    assert_eq!(bells(&store).await, [id(1), id(2)], "the oldest first");
    lease(&store, request(id(3), "w", 1, HOUR)).await;
    // 2^12 moments are over four seconds: by then each job's interval holds for the rest of the test.
    for _ in 0..12 {
        bench.pass(&store, MOMENT * 2).await;
        store.ring(&rescuer, Lane::Low, 10).await.unwrap();
    }
    let (before, _) = (bells(&store).await, bench.pass(&store, MOMENT * 2).await);
    assert!(before.len() < 24 && !before.contains(&id(3)), "{before:?}");
}

/// Only one rescuer has the turn until it lapses, and only it can ring.
pub async fn one_rescuer_has_the_turn(bench: &impl Bench) {
    let store = bench.store(StoreRules { bell_first: Duration::ZERO, ..patient() });
    insert(&store, in_lane(1, Lane::Normal)).await;
    bench.pass(&store, MOMENT).await;
    let (one, two) = (worker("one"), worker("two"));
    assert_eq!(store.ring(&one, Lane::Normal, 1).await.unwrap(), 0, "nobody has the turn");
    assert!(store.rescue_turn(&one, HOUR).await.unwrap());
    assert!(!store.rescue_turn(&two, HOUR).await.unwrap());
    assert_eq!(store.ring(&two, Lane::Normal, 1).await.unwrap(), 0);
    assert_eq!(store.ring(&one, Lane::Normal, 1).await.unwrap(), 1);
    assert!(store.rescue_turn(&one, MOMENT).await.unwrap(), "the holder may change its end");
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.ring(&one, Lane::Normal, 1).await.unwrap(), 0, "the turn is over");
    assert!(store.rescue_turn(&two, HOUR).await.unwrap());
}

/// A completed job is left to its worker for a while, then handed to rescue until it is exported.
pub async fn exports_are_left_over_once(bench: &impl Bench) {
    let patient_store = bench.store(patient());
    ended(&patient_store, in_lane(1, Lane::Normal), Transition::complete(result())).await;
    assert_eq!(patient_store.claim_exports(10, HOUR).await.unwrap(), []);
    assert_eq!(patient_store.status().await.unwrap().exports, 1);

    let store = bench.store(hasty());
    ended(&store, in_lane(1, Lane::Normal), Transition::complete(result())).await;
    bench.pass(&store, MOMENT * 2).await;
    let left = store.claim_exports(10, MOMENT).await.unwrap();
    assert_eq!(left, [record(&store, id(1)).await]);
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.claim_exports(10, HOUR).await.unwrap().len(), 1, "the claim lapsed");
    store.mark_exported(id(1), None, Some("s3://gone/x: no such bucket")).await.unwrap();
    let exported = record(&store, id(1)).await;
    assert!(exported.exported_at.is_some());
    assert_eq!(exported.output_problem.as_deref(), Some("s3://gone/x: no such bucket"));
    bench.pass(&store, MOMENT * 2).await;
    store.mark_exported(id(1), None, None).await.unwrap();
    assert_eq!(record(&store, id(1)).await, exported, "once is enough");
    assert_eq!(store.status().await.unwrap().exports, 0);
    ended(&store, in_lane(2, Lane::Normal), Transition::discard(failure(FailureClass::Permanent))).await;
    store.mark_exported(id(2), None, None).await.unwrap();
    assert_eq!(record(&store, id(2)).await.exported_at, None);
}

/// Webhooks are due when a job is exported, discarded or cancelled, until they are done.
pub async fn webhooks_follow_the_end(bench: &impl Bench) {
    let store = bench.store(patient());
    ended(&store, called(1), Transition::complete(result())).await;
    assert_eq!(tries(&due(bench, &store).await), [], "completion is told after the export");
    store.mark_exported(id(1), None, None).await.unwrap();
    let first = due(bench, &store).await;
    assert_eq!(tries(&first), [(id(1), 0)]);
    let again = |after| WebhookOutcome::Again { after };
    store.finish_webhook(first[0].claim, again(MOMENT), answer(Some(500))).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    let second = due(bench, &store).await;
    assert_eq!(tries(&second), [(id(1), 1)]);
    store.finish_webhook(second[0].claim, again(MOMENT), answer(None)).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    let third = due(bench, &store).await;
    assert_eq!(tries(&third), [(id(1), 2)]);
    store.finish_webhook(third[0].claim, WebhookOutcome::Done, answer(Some(204))).await.unwrap();
    assert_eq!(store.status().await.unwrap().webhooks, 0);
    ended(&store, called(2), Transition::discard(failure(FailureClass::Permanent))).await;
    insert(&store, called(3)).await;
    store.request_cancel(id(3)).await.unwrap();
    let mut both = tries(&due(bench, &store).await);
    both.sort_unstable();
    assert_eq!(both, [(id(2), 0), (id(3), 0)]);
    store.retry(id(2)).await.unwrap();
    assert_eq!(tries(&due(bench, &store).await), [(id(3), 0)], "a retried job has not ended");
    ended(&store, NewJob::new(id(4), spec()), Transition::discard(failure(FailureClass::Permanent))).await;
    assert_eq!(tries(&due(bench, &store).await), [(id(3), 0)]);
}

/// What comes late about one end of a job says nothing about the next one.
pub async fn a_late_answer_changes_no_newer_webhook(bench: &impl Bench) {
    let store = bench.store(patient());
    ended(&store, called(1), Transition::discard(failure(FailureClass::Permanent))).await;
    let first = store.claim_webhooks(10, HOUR).await.unwrap();
    store.retry(id(1)).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    store.request_cancel(id(1)).await.unwrap();
    for outcome in [WebhookOutcome::Done, WebhookOutcome::Again { after: HOUR }] {
        store.finish_webhook(first[0].claim, outcome, answer(Some(204))).await.unwrap();
        assert_eq!(tries(&due(bench, &store).await), [(id(1), 0)], "{outcome:?}");
    }
    // So with a delivery that was asked for while another was under way.
    let second = store.claim_webhooks(10, HOUR).await.unwrap();
    assert_eq!(store.redeliver(id(1)).await.unwrap(), Some(true));
    store.finish_webhook(second[0].claim, WebhookOutcome::Done, answer(Some(204))).await.unwrap();
    let third = due(bench, &store).await;
    assert_eq!(tries(&third), [(id(1), 0)]);
    store.finish_webhook(third[0].claim, WebhookOutcome::Done, answer(Some(204))).await.unwrap();
    assert_eq!(store.status().await.unwrap().webhooks, 0);
}

fn called(n: u8) -> NewJob {
    let mut spec = spec();
    spec.callback_url = Some("https://example.org/cb".into());
    NewJob::new(id(n), spec)
}

fn answer(status: Option<u16>) -> WebhookAnswer {
    WebhookAnswer { status, detail: "said \"so\"".to_owned() }
}

/// Webhooks that are due; the claims on them have lapsed, and nobody else has made one.
async fn due<B: Bench>(bench: &B, store: &B::Store) -> Vec<WebhookDue> {
    let due = store.claim_webhooks(10, MOMENT).await.unwrap();
    bench.pass(store, MOMENT * 2).await;
    due
}

fn tries(due: &[WebhookDue]) -> Vec<(JobId, u32)> {
    due.iter().map(|hook| (hook.record.id, hook.tries)).collect()
}

/// Every try to deliver is remembered, and a delivery can be asked for again.
pub async fn deliveries_are_remembered(bench: &impl Bench) {
    let store = bench.store(patient());
    ended(&store, called(1), Transition::discard(failure(FailureClass::Permanent))).await;
    ended(&store, NewJob::new(id(2), spec()), Transition::discard(failure(FailureClass::Permanent))).await;
    ended(&store, called(3), Transition::complete(result())).await;
    let never = WebhookClaim { job: id(2), until: Timestamp::from_millis(1) };
    store.finish_webhook(never, WebhookOutcome::Done, answer(None)).await.unwrap();
    let outcomes = [WebhookOutcome::Again { after: MOMENT }, WebhookOutcome::GivenUp];
    for outcome in outcomes {
        let hook = due(bench, &store).await;
        store.finish_webhook(hook[0].claim, outcome, answer(Some(503))).await.unwrap();
        bench.pass(&store, MOMENT * 2).await;
    }
    let told = store.deliveries(10).await.unwrap();
    let seen: Vec<_> = told.iter().map(|told| (told.job, told.tries, told.outcome)).collect();
    assert_eq!(seen, [(id(1), 2, outcomes[1]), (id(1), 1, outcomes[0])], "the newest first");
    assert!(told.iter().all(|told| told.answer == answer(Some(503)) && told.at.as_millis() > 0));
    assert_eq!(store.deliveries(1).await.unwrap().len(), 1);
    assert_eq!(store.deliveries(0).await.unwrap(), []);
    assert_eq!(tries(&due(bench, &store).await), [], "it was given up");
    assert_eq!(store.redeliver(id(1)).await.unwrap(), Some(true));
    assert_eq!(tries(&due(bench, &store).await), [(id(1), 0)], "counted anew");
    assert_eq!(store.redeliver(id(2)).await.unwrap(), Some(false), "nobody asked to be told");
    assert_eq!(store.redeliver(id(3)).await.unwrap(), Some(false), "it is not exported");
    assert_eq!(store.redeliver(id(9)).await.unwrap(), None);
}

/// Folders of attempts that were not completed are swept, settled ones never.
pub async fn lost_attempts_are_swept(bench: &impl Bench) {
    let store = bench.store(hasty());
    let retryable = failure(FailureClass::Retryable);
    let mut lost = vec![
        ended(&store, in_lane(1, Lane::Normal), Transition::interrupt()).await,
        ended(&store, in_lane(2, Lane::Normal), Transition::retry(retryable, HOUR)).await,
        ended(&store, in_lane(3, Lane::Normal), Transition::discard(failure(FailureClass::Permanent))).await,
    ];
    ended(&store, in_lane(4, Lane::Normal), Transition::complete(result())).await;
    insert(&store, in_lane(5, Lane::Normal)).await;
    let crashed = lease(&store, request(id(5), "w", 1, MOMENT)).await;
    bench.pass(&store, MOMENT * 2).await;
    store.end_lease(crashed, common::job::retry::AfterCrash::Again).await.unwrap();
    lost.push(crashed);
    bench.pass(&store, MOMENT * 2).await;
    let mut sweeps = store.claim_sweeps(10, MOMENT).await.unwrap();
    sweeps.sort_unstable();
    lost.sort_unstable();
    assert_eq!(sweeps, lost);
    store.delete_sweeps(&sweeps[1..]).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.claim_sweeps(10, HOUR).await.unwrap(), sweeps[..1]);
}

/// Retention forgets everything of a final job, and of no other; purge does so at once.
pub async fn final_jobs_are_forgotten(bench: &impl Bench) {
    let store = bench.store(hasty());
    let cache = CacheKey::of(&spec(), ContentDigest::of(b"audio"), "starter@1");
    let keyed = |n: u8| NewJob {
        idempotency: Some(Idempotency::new("k").unwrap()),
        cache,
        ..NewJob::new(id(n), spec())
    };
    insert(&store, in_lane(9, Lane::Normal)).await;
    ended(&store, keyed(1), Transition::complete(result())).await;
    store.mark_exported(id(1), cache, None).await.unwrap();
    bench.pass(&store, MOMENT * 2).await;
    assert_eq!(store.prune(10).await.unwrap(), 1);
    assert_eq!(store.prune(10).await.unwrap(), 0);
    assert_eq!(store.get(id(1)).await.unwrap(), None);
    assert_eq!(state(&store, id(9)).await, JobState::Available);
    let fresh = insert(&store, keyed(2)).await;
    assert_eq!(fresh.state, JobState::Available, "neither key nor cache remembers it");

    let keeping = bench.store(patient());
    ended(&keeping, in_lane(1, Lane::Normal), Transition::complete(result())).await;
    insert(&keeping, in_lane(2, Lane::Normal)).await;
    assert_eq!(keeping.prune(10).await.unwrap(), 0);
    assert_eq!(keeping.purge(id(2)).await.unwrap(), Some(false));
    assert_eq!(keeping.purge(id(1)).await.unwrap(), Some(true));
    assert_eq!(keeping.purge(id(1)).await.unwrap(), None);
    assert_eq!(keeping.status().await.unwrap().exports, 0);
}
