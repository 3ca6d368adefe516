//! Between the job code, which is synchronous, and the lease: stop when it is lost, say how far it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use common::clock::{Clock, Monotonic, SystemClock};
use common::fleet::keep::{Hold, Stop};
use common::job::failure::{Failure, FailureClass, FailureCode, Stage};
use common::job::record;
use common::telemetry::metrics;

use crate::recording::{Progress, Watch};

/// Watches one attempt.
pub struct Watching {
    hold: Arc<Hold>,
    clock: SystemClock,
    /// When the attempt's time is over.
    timeout_at: Monotonic,
    timeout_s: u64,
    /// Stage in the high byte (an index into [`STAGES`]), percent in the low one.
    progress: AtomicU16,
}

const STAGES: [Stage; 7] = [
    Stage::Fetch,
    Stage::Decode,
    Stage::Segmentation,
    Stage::Embedding,
    Stage::Clustering,
    Stage::Render,
    Stage::Store,
];
/// What fetching counts for, percent of the job.
const FETCHED: u8 = 3;
/// Where listening ends and clustering begins, percent of the job.
const HEARD: u8 = 94;

impl Watching {
    /// An attempt that begins now and may take `timeout`.
    #[must_use]
    pub fn new(hold: Arc<Hold>, clock: SystemClock, timeout: Duration) -> Self {
        let timeout_at = clock.monotonic().plus(timeout);
        Self { hold, clock, timeout_at, timeout_s: timeout.as_secs(), progress: AtomicU16::new(0) }
    }

    /// The stage that begins, unless the work has to stop.
    ///
    /// # Errors
    /// Why it has to.
    pub fn enter(&self, stage: Stage) -> Result<(), Stop> {
        self.hold.check(self.clock.monotonic())?;
        let percent = match stage {
            Stage::Fetch => 0,
            Stage::Decode | Stage::Segmentation | Stage::Embedding => FETCHED,
            Stage::Clustering => HEARD,
            Stage::Render => 97,
            Stage::Store => 98,
        };
        self.note(stage, percent);
        Ok(())
    }

    /// How far it is.
    #[must_use]
    pub fn seen(&self) -> record::Progress {
        let [stage, percent] = self.progress.load(Ordering::Relaxed).to_be_bytes();
        record::Progress { stage: STAGES[usize::from(stage) % STAGES.len()], percent }
    }

    /// Whether its time is over.
    #[must_use]
    pub fn timed_out(&self) -> Option<Failure> {
        (self.clock.monotonic() >= self.timeout_at).then(|| Failure {
            code: FailureCode::Timeout,
            stage: self.seen().stage,
            class: FailureClass::Retryable,
            detail: format!("the attempt took longer than its timeout, seconds: {}", self.timeout_s),
        })
    }

    /// Why the work has to stop, if it has to.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<(), Stop> {
        self.hold.check(self.clock.monotonic())
    }

    fn note(&self, stage: Stage, percent: u8) {
        let index = STAGES.iter().position(|known| *known == stage).unwrap_or(0);
        // Seven stages fit a byte. Whoever reads between two notes sees one of them whole.
        self.progress.store(u16::from_be_bytes([index as u8, percent]), Ordering::Relaxed);
    }
}

impl Watch for Watching {
    fn spent(&self, stage: Stage, time: Duration) {
        metrics::stage(stage, time);
    }

    fn progress(&self, progress: Progress) {
        let percent = match (progress.stage, progress.total_s) {
            (Stage::Decode | Stage::Segmentation | Stage::Embedding, Some(total_s)) if total_s > 0.0 => {
                let share = (progress.audio_s / total_s).clamp(0.0, 1.0);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 91")]
                let heard = (share * f64::from(HEARD - FETCHED)) as u8;
                FETCHED + heard
            }
            (Stage::Clustering, _) => HEARD,
            (_, _) => self.seen().percent,
        };
        // Who goes through a recording twice, or through several, begins anew; what was told does not go back.
        self.note(progress.stage, percent.max(self.seen().percent));
    }

    fn stop(&self) -> Option<Failure> {
        let stop = match self.check() {
            Ok(()) => return self.timed_out(),
            Err(stop) => stop,
        };
        let code = if stop == Stop::LeaseLost { FailureCode::LeaseLost } else { FailureCode::Internal };
        let (stage, detail) = (self.seen().stage, stop.to_string());
        // Whoever called the job code asks the hold why; this failure is never recorded.
        Some(Failure { code, stage, class: FailureClass::Interrupted, detail })
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::job::id::JobId;
    use common::job::lease::{Lease, LeaseKey, Nonce};

    use super::*;

    fn hold(clock: SystemClock, lasts: Duration) -> Arc<Hold> {
        let job = JobId::new(Timestamp::from_millis(1), [1; 16]);
        let key = LeaseKey { job, token: 1, nonce: Nonce::new([0; 16]) };
        Arc::new(Hold::on(&Lease::granted(key, (), clock.monotonic(), lasts, (0, 0))))
    }

    #[test]
    fn progress_goes_from_0_to_98_and_not_back_when_the_length_is_unknown() {
        let clock = SystemClock::new();
        let hold = hold(clock, Duration::from_secs(60));
        let watching = Watching::new(hold, clock, Duration::from_secs(60));
        assert_eq!(watching.seen(), record::Progress { stage: Stage::Fetch, percent: 0 });
        watching.enter(Stage::Decode).unwrap();
        let heard = |audio_s, total_s| {
            watching.progress(Progress { stage: Stage::Segmentation, audio_s, total_s });
            watching.seen().percent
        };
        assert_eq!(heard(0.0, Some(10.0)), 3);
        assert_eq!(heard(5.0, Some(10.0)), 48);
        assert_eq!(heard(6.0, None), 48);
        assert_eq!(heard(99.0, Some(10.0)), 94, "longer than declared");
        assert_eq!(heard(1.0, Some(0.0)), 94);
        watching.enter(Stage::Store).unwrap();
        assert_eq!(watching.seen(), record::Progress { stage: Stage::Store, percent: 98 });
    }

    #[test]
    fn a_lost_lease_comes_before_a_timeout() {
        let clock = SystemClock::new();
        let held = hold(clock, Duration::from_secs(60));
        let late = Watching::new(Arc::clone(&held), clock, Duration::ZERO);
        let stopped = late.stop().unwrap();
        assert_eq!((stopped.code, stopped.class), (FailureCode::Timeout, FailureClass::Retryable));
        let gone = hold(clock, Duration::ZERO);
        let lost = Watching::new(gone, clock, Duration::ZERO);
        assert_eq!(lost.stop().unwrap().code, FailureCode::LeaseLost);
        assert_eq!(lost.enter(Stage::Store), Err(Stop::LeaseLost));
        held.cancel();
        assert_eq!(late.stop().unwrap().class, FailureClass::Interrupted);
    }
}
