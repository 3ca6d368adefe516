//! Whether and when a job is tried again: pure, and the only place that decides it.

use std::time::Duration;

use super::failure::{Failure, FailureClass, FailureCode, Stage};
use super::spec::Limits;

/// Delay before the second attempt, at most.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(2);
/// Longest delay before any attempt.
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// What follows a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try again, not before this much time has passed.
    Retry {
        /// The wait.
        after: Duration,
    },
    /// Give up, with this failure in the record.
    Discard(Failure),
    /// The work was stopped from outside: hand the job back.
    HandBack,
}

/// What follows a lease that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterCrash {
    /// Make it available at once: the lease itself was the wait.
    Again,
    /// Give up.
    Discard,
}

/// What follows an attempt that failed with `failure` after `attempts` earlier failures. `unit` is a random number in
/// `[0, 1)`.
#[must_use]
pub fn after_failure(failure: Failure, attempts: u32, limits: &Limits, unit: f64) -> AfterFailure {
    match failure.class {
        FailureClass::Interrupted => AfterFailure::HandBack,
        FailureClass::Permanent => AfterFailure::Discard(failure),
        FailureClass::Retryable => {
            let failed = attempts.saturating_add(1);
            if failed < limits.attempts_max {
                return AfterFailure::Retry { after: backoff(failed, unit) };
            }
            let detail = format!(
                "attempt {failed} of {} failed, {}: {}",
                limits.attempts_max,
                failure.code.as_str(),
                failure
            );
            AfterFailure::Discard(Failure {
                code: FailureCode::AttemptsExhausted,
                stage: failure.stage,
                class: FailureClass::Permanent,
                detail,
            })
        }
    }
}

/// What follows a crash after `crashes` earlier ones.
#[must_use]
pub fn after_crash(crashes: u32, limits: &Limits) -> AfterCrash {
    if crashes.saturating_add(1) < limits.crashes_max { AfterCrash::Again } else { AfterCrash::Discard }
}

/// The failure of a job whose workers vanished `crashes` times.
#[must_use]
pub fn worker_lost(crashes: u32, stage: Stage) -> Failure {
    Failure {
        code: FailureCode::WorkerLost,
        stage,
        class: FailureClass::Permanent,
        detail: format!("the worker vanished while it held the job, times: {crashes}"),
    }
}

/// Longest wait after `failed` failures: two seconds, doubled by each further failure, up to ten minutes.
#[must_use]
pub fn backoff_max(failed: u32) -> Duration {
    // 2 s times 2^9 is past ten minutes, so a larger exponent changes nothing and cannot overflow.
    let doublings = failed.saturating_sub(1).min(9);
    (BACKOFF_FIRST * (1 << doublings)).min(BACKOFF_MAX)
}

/// Full jitter: any wait up to the longest, so that jobs which failed together do not return together.
fn backoff(failed: u32, unit: f64) -> Duration {
    backoff_max(failed).mul_f64(unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass) -> Failure {
        Failure { code: FailureCode::StoreUnavailable, stage: Stage::Fetch, class, detail: "503".into() }
    }

    #[test]
    fn the_wait_doubles_up_to_ten_minutes() {
        let longest: Vec<_> = (1..=12).map(|failed| backoff_max(failed).as_secs()).collect();
        assert_eq!(longest, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        assert_eq!(backoff_max(0).as_secs(), 2);
        assert_eq!(backoff_max(u32::MAX).as_secs(), 600);
    }

    #[test]
    fn jitter_spans_the_whole_wait() {
        let limits = Limits { attempts_max: 20, ..Limits::default() };
        let wait = |attempts, unit| after_failure(failure(FailureClass::Retryable), attempts, &limits, unit);
        assert_eq!(wait(2, 0.0), AfterFailure::Retry { after: Duration::ZERO });
        assert_eq!(wait(2, 0.5), AfterFailure::Retry { after: Duration::from_secs(4) });
        assert_eq!(wait(2, 1.0), AfterFailure::Retry { after: Duration::from_secs(8) });
        assert_eq!(wait(2, 99.0), AfterFailure::Retry { after: Duration::from_secs(8) });
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        let limits = Limits::default();
        assert!(matches!(
            after_failure(failure(FailureClass::Retryable), 3, &limits, 0.5),
            AfterFailure::Retry { .. }
        ));
        let AfterFailure::Discard(last) = after_failure(failure(FailureClass::Retryable), 4, &limits, 0.5)
        else {
            panic!("the fifth failure is the last");
        };
        assert_eq!(last.code, FailureCode::AttemptsExhausted);
        assert_eq!(last.detail, "attempt 5 of 5 failed, store_unavailable: 503");
        assert_eq!(
            after_failure(failure(FailureClass::Permanent), 0, &limits, 0.5),
            AfterFailure::Discard(failure(FailureClass::Permanent))
        );
        assert_eq!(
            after_failure(failure(FailureClass::Interrupted), 4, &limits, 0.5),
            AfterFailure::HandBack
        );
    }

    #[test]
    fn the_last_crash_is_the_last() {
        let limits = Limits::default();
        assert_eq!(after_crash(3, &limits), AfterCrash::Again);
        assert_eq!(after_crash(4, &limits), AfterCrash::Discard);
        assert_eq!(after_crash(u32::MAX, &limits), AfterCrash::Discard);
        assert_eq!(after_crash(0, &Limits { crashes_max: 1, ..limits }), AfterCrash::Discard);
    }
}
