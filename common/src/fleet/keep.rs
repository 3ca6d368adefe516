//! Keeping a lease while the work goes on, and knowing when it is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Monotonic};
use crate::job::lease::{Lease, LeaseKey};
use crate::port::job_store::{Extension, JobStore};

/// How a lease is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepRules {
    /// How long a lease lasts.
    pub lasts: Duration,
    /// How often it is extended.
    pub every: Duration,
    /// How soon an extension without an answer is tried again.
    pub again: Duration,
}

impl Default for KeepRules {
    /// The contract's 30 s and 10 s.
    fn default() -> Self {
        Self { lasts: Duration::from_secs(30), every: Duration::from_secs(10), again: Duration::from_secs(1) }
    }
}

/// Why work has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The lease is lost, or has run out by our own clock: publish nothing.
    #[error("the lease is lost")]
    LeaseLost,
    /// Somebody wants the job stopped.
    #[error("a cancel was requested")]
    CancelRequested,
    /// The worker was told to stop.
    #[error("the worker was told to stop")]
    Interrupted,
}

/// What the keeper of a lease and the work under it share.
///
/// Invariant: [`Hold::check`] succeeds only before the deadline of the last extension that the job store *confirmed*; an
/// unknown answer extends nothing.
#[derive(Debug)]
pub struct Hold {
    key: LeaseKey,
    deadline_ms: AtomicU64,
    lost: AtomicBool,
    cancel: AtomicBool,
    interrupt: AtomicBool,
}

impl Hold {
    /// The hold on a lease that was just granted.
    #[must_use]
    pub fn on<T>(lease: &Lease<T>) -> Self {
        Self {
            key: *lease.key(),
            deadline_ms: AtomicU64::new(lease.deadline().as_millis()),
            lost: AtomicBool::new(false),
            cancel: AtomicBool::new(false),
            interrupt: AtomicBool::new(false),
        }
    }

    /// The attempt.
    #[must_use]
    pub fn key(&self) -> LeaseKey {
        self.key
    }

    /// When the right to work ends unless it is extended.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        Monotonic::from_millis(self.deadline_ms.load(Ordering::SeqCst))
    }

    /// Whether the next stage may start.
    ///
    /// # Errors
    /// Why not. A lost lease comes before a cancel, since then nothing at all may be written.
    pub fn check(&self, now: Monotonic) -> Result<(), Stop> {
        if self.lost.load(Ordering::SeqCst) || now >= self.deadline() {
            return Err(Stop::LeaseLost);
        }
        if self.cancel.load(Ordering::SeqCst) {
            return Err(Stop::CancelRequested);
        }
        if self.interrupt.load(Ordering::SeqCst) {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }

    /// A cancel was heard of.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::SeqCst);
    }

    /// The worker is told to stop.
    pub fn interrupt(&self) {
        self.interrupt.store(true, Ordering::SeqCst);
    }

    /// The job store said that the lease is not ours any more.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }

    fn extended(&self, deadline: Monotonic) {
        self.deadline_ms.fetch_max(deadline.as_millis(), Ordering::SeqCst);
    }
}

/// What the keeper does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Extend now.
    Extend,
    /// Wait until then.
    Wait(Monotonic),
    /// There is nothing left to keep.
    Lost,
}

/// Decides when to extend.
#[derive(Debug, Clone)]
pub struct Keeper {
    rules: KeepRules,
    due: Monotonic,
}

impl Keeper {
    /// Keeps a lease that was granted for [`KeepRules::lasts`].
    #[must_use]
    pub fn new(hold: &Hold, rules: KeepRules) -> Self {
        // The deadline is `lasts` after the call that granted the lease.
        let called_at = hold.deadline().as_millis().saturating_sub(crate::clock::millis(rules.lasts));
        Self { rules, due: Monotonic::from_millis(called_at).plus(rules.every) }
    }

    /// What to do at `now`.
    #[must_use]
    pub fn next(&self, hold: &Hold, now: Monotonic) -> Next {
        if hold.check(now) == Err(Stop::LeaseLost) {
            return Next::Lost;
        }
        if now >= self.due { Next::Extend } else { Next::Wait(self.due) }
    }

    /// Extends once. The clock is read before the call, and only the store's yes moves the deadline.
    pub async fn extend(&mut self, store: &impl JobStore, hold: &Hold, clock: &impl Clock) {
        let called_at = clock.monotonic();
        match store.extend(hold.key(), self.rules.lasts, called_at).await {
            Ok(Extension::Held { deadline, cancel_requested }) => {
                hold.extended(deadline);
                if cancel_requested {
                    hold.cancel();
                }
                self.due = called_at.plus(self.rules.every);
            }
            Ok(Extension::Lost) => hold.lose(),
            // It may have been extended or not: the deadline stays, and we ask again soon.
            Err(_) => self.due = clock.monotonic().plus(self.rules.again),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::job::id::JobId;
    use crate::job::lease::Nonce;

    #[test]
    fn the_keeper_extends_in_time_and_stops_at_the_deadline() {
        let key =
            LeaseKey { job: JobId::new(Timestamp::default(), [0; 16]), token: 1, nonce: Nonce::new([0; 16]) };
        let rules = KeepRules::default();
        let at = |seconds: u64| Monotonic::from_millis(seconds * 1000);
        let lease = Lease::granted(key, (), at(100), rules.lasts, (0, 0));
        let hold = Hold::on(&lease);
        let keeper = Keeper::new(&hold, rules);
        assert_eq!(keeper.next(&hold, at(101)), Next::Wait(at(110)));
        assert_eq!(keeper.next(&hold, at(110)), Next::Extend);
        assert_eq!(keeper.next(&hold, at(130)), Next::Lost);
        assert_eq!(hold.check(at(129)), Ok(()));
        assert_eq!(hold.check(at(130)), Err(Stop::LeaseLost));
        hold.interrupt();
        assert_eq!(hold.check(at(120)), Err(Stop::Interrupted));
        hold.cancel();
        assert_eq!(hold.check(at(120)), Err(Stop::CancelRequested));
        assert_eq!(hold.check(at(130)), Err(Stop::LeaseLost));
    }
}
