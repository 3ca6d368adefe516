//! Between a consumer's caller and the tasks that talk to the server, each for some of the lanes: what is held, and whether
//! anybody wants it.
//!
//! Where the server pushes, the task looks at [`Shared::wants`] at least every [`HOLD`] while it has consumers there; the
//! caller wakes it only when it has none, so that a busy worker costs no wake-up per notice. Where the task pulls, it is
//! woken by each call.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::job::lane::Lane;
use crate::port::broker::held::{Held, Highest};
use crate::port::broker::{BrokerError, HOLD};

#[derive(Debug)]
struct State<D> {
    held: Held<D>,
    /// Somebody awaits `next`.
    demand: bool,
    /// When somebody last did; `None` before the first call.
    wanted_at: Option<Instant>,
    /// Why the server refuses; told once.
    refused: Option<BrokerError>,
    closing: bool,
}

impl<D> State<D> {
    fn wanted_within(&self, length: Duration, now: Instant) -> bool {
        self.wanted_at.is_some_and(|at| now.saturating_duration_since(at) < length)
    }
}

/// What a consumer and its task share.
#[derive(Debug)]
pub(crate) struct Shared<D> {
    state: Mutex<State<D>>,
    /// One for each lane; a task listens to that of its first one.
    tasks: [Notify; Lane::ALL.len()],
    caller: Notify,
    source: Source,
}

/// How notices come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// By themselves, while there are consumers on the server.
    Pushed,
    /// One at a time, when the task asks.
    Pulled,
}

impl<D> Shared<D> {
    pub(crate) fn new(source: Source) -> Self {
        let state =
            State { held: Held::default(), demand: false, wanted_at: None, refused: None, closing: false };
        Self { state: Mutex::new(state), tasks: Default::default(), caller: Notify::new(), source }
    }

    fn lock(&self) -> MutexGuard<'_, State<D>> {
        // No code panics while it holds the lock; should it, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller's side: waits for the highest lane's delivery.
    pub(crate) async fn next(&self) -> Result<(Lane, D), BrokerError> {
        let _demand = Demand::begin(self);
        loop {
            let until = match self.look()? {
                Highest::Take(lane, delivery) => return Ok((lane, delivery)),
                Highest::Wait(until) => Some(until),
                Highest::Nothing => None,
            };
            // A delivery that comes between the look and this line leaves a permit behind.
            match until {
                Some(until) => {
                    let _ = tokio::time::timeout_at(until.into(), self.caller.notified()).await;
                }
                None => self.caller.notified().await,
            }
        }
    }

    fn look(&self) -> Result<Highest<D>, BrokerError> {
        let now = Instant::now();
        let mut state = self.lock();
        let found = state.held.take_highest(now);
        match &found {
            Highest::Take(lane, _) if self.source == Source::Pushed => state.held.expect(*lane, now),
            Highest::Nothing => {
                if let Some(refused) = state.refused.take() {
                    return Err(refused);
                }
            }
            _ => {}
        }
        Ok(found)
    }

    /// Either side: the server may push the next of this lane now.
    pub(crate) fn expect(&self, lane: Lane) {
        self.lock().held.expect(lane, Instant::now());
    }

    /// The caller's side: nobody will call `next` any more.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wake();
    }

    fn wake(&self) {
        self.tasks.iter().for_each(Notify::notify_one);
    }

    pub(crate) fn closing(&self) -> bool {
        self.lock().closing
    }

    /// The task's side: whether to have consumers on the server.
    pub(crate) fn wants(&self) -> bool {
        let state = self.lock();
        // The clock is read under the lock, here and in `Demand::begin`: else the two might each take the other to be awake.
        !state.closing && (state.demand || state.wanted_within(HOLD, Instant::now()))
    }

    /// The task's side: whether somebody waits right now and nothing is held for them.
    pub(crate) fn starves(&self) -> bool {
        let state = self.lock();
        !state.closing && state.demand && state.held.is_empty()
    }

    /// The task's side: when the first held delivery has to go back.
    pub(crate) fn next_stale(&self) -> Option<Instant> {
        self.lock().held.next_stale(HOLD)
    }

    /// The side of the task of these lanes: returns once the caller has begun to want, or closes; may return early.
    pub(crate) async fn woken(&self, lanes: &[Lane]) {
        self.tasks[lanes.first().map_or(0, |lane| lane.index())].notified().await;
    }

    /// The side of the task of these lanes: waits for the caller, but no longer than `delay`.
    pub(crate) async fn closed_within(&self, lanes: &[Lane], delay: Duration) {
        let until = tokio::time::Instant::now() + delay;
        while !self.closing() && tokio::time::timeout_at(until, self.woken(lanes)).await.is_ok() {}
    }

    /// The task's side: hands a delivery over; gives back the one that its lane already had.
    pub(crate) fn put(&self, lane: Lane, delivery: D) -> Option<D> {
        let earlier = self.lock().held.put(lane, Instant::now(), delivery);
        self.caller.notify_one();
        earlier
    }

    /// The side of the task of these lanes: takes back what nobody fetched in time.
    pub(crate) fn take_stale(&self, lanes: &[Lane]) -> Vec<D> {
        self.lock().held.take_stale(lanes, Instant::now(), HOLD)
    }

    /// The side of the task of these lanes: takes back everything.
    pub(crate) fn take_all(&self, lanes: &[Lane]) -> Vec<D> {
        self.lock().held.take_all(lanes)
    }

    /// The task's side: tells the caller that the server refuses.
    pub(crate) fn refuse(&self, error: BrokerError) {
        self.lock().refused = Some(error);
        self.caller.notify_one();
    }

    /// The task's side: the server has accepted after all.
    pub(crate) fn accepted(&self) {
        self.lock().refused = None;
    }
}

/// Somebody awaits `next`; ends when the future is dropped, done or not.
struct Demand<'a, D> {
    shared: &'a Shared<D>,
}

impl<'a, D> Demand<'a, D> {
    fn begin(shared: &'a Shared<D>) -> Self {
        let mut state = shared.lock();
        let now = Instant::now();
        let fresh = state.wanted_within(HOLD, now);
        (state.demand, state.wanted_at) = (true, Some(now));
        drop(state);
        // Otherwise the server is pushing, and the task looks again by itself within the hold.
        if !fresh || shared.source == Source::Pulled {
            shared.wake();
        }
        Self { shared }
    }
}

impl<D> Drop for Demand<'_, D> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        (state.demand, state.wanted_at) = (false, Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn demand_follows_the_future() {
        let shared = Shared::<&str>::new(Source::Pushed);
        assert!(!shared.wants());
        {
            let next = shared.next();
            tokio::pin!(next);
            assert!(tokio::time::timeout(Duration::from_millis(1), &mut next).await.is_err());
            // However long it has been awaited.
            shared.lock().wanted_at = Instant::now().checked_sub(10 * HOLD);
            assert!(shared.wants());
        }
        shared.lock().wanted_at = Instant::now().checked_sub(HOLD);
        assert!(!shared.wants());
        assert!(shared.put(Lane::Low, "low").is_none() && shared.put(Lane::High, "high").is_none());
        assert_eq!(shared.next().await, Ok((Lane::High, "high")));
        assert_eq!(shared.take_all(&Lane::ALL), ["low"]);
        shared.close();
        assert!(!shared.wants() && shared.closing());
    }

    #[tokio::test]
    async fn a_refusal_is_told_once() {
        let shared = Shared::<()>::new(Source::Pushed);
        let refused = BrokerError::Refused { endpoint: "e".into(), detail: "d".into() };
        shared.refuse(refused.clone());
        assert_eq!(shared.next().await, Err(refused.clone()));
        shared.refuse(refused);
        shared.accepted();
        assert!(tokio::time::timeout(Duration::from_millis(1), shared.next()).await.is_err());
    }
}
