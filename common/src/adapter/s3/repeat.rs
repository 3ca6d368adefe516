//! Repeating what failed for a while: throttling, server errors, lost connections.

use std::time::Duration;

use tokio::time::Instant;

use crate::adapter::jitter::jitter;
use crate::port::object_store::StoreError;

/// Bounds of the repetition of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatPolicy {
    /// How often a request is sent at most.
    pub tries_max: u32,
    /// Delay before the second try; doubles.
    pub first: Duration,
    /// No delay is longer, unless the store asks for it.
    pub longest: Duration,
    /// No try starts later than this after the first.
    pub within: Duration,
}

impl Default for RepeatPolicy {
    /// Eight tries within 40 s: shorter than a lease renewed twice, long enough for a store that rebalances.
    fn default() -> Self {
        Self {
            tries_max: 8,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(8),
            within: Duration::from_secs(40),
        }
    }
}

impl RepeatPolicy {
    /// The delay before the next try, or `None` when this was the last. `random` is in 0..=1; the whole delay is jittered,
    /// what the store asks for is a lower bound.
    #[must_use]
    pub fn next_delay(
        &self,
        tries: u32,
        elapsed: Duration,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        if tries >= self.tries_max {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << tries.saturating_sub(1).min(20)).min(self.longest);
        let delay = doubled.mul_f64(random.clamp(0.0, 1.0)).max(retry_after.unwrap_or_default());
        (elapsed.saturating_add(delay) <= self.within).then_some(delay)
    }
}

/// Calls `request` until it succeeds, fails for good, or the policy's bounds are reached.
pub(super) async fn repeat<T, F>(policy: RepeatPolicy, request: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let started = Instant::now();
    let mut tries = 0;
    loop {
        let error = match request().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        tries += 1;
        let StoreError::Unavailable { detail, retry_after, .. } = &error else {
            return Err(error);
        };
        let Some(delay) = policy.next_delay(tries, started.elapsed(), *retry_after, jitter()) else {
            return Err(error);
        };
        tracing::debug!(tries, delay_ms = delay.as_millis() as u64, detail, "the store is asked again");
        tokio::time::sleep(delay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_within_the_bounds() {
        let policy = RepeatPolicy::default();
        let delay = |tries, elapsed_s, after: Option<u64>| {
            policy.next_delay(tries, Duration::from_secs(elapsed_s), after.map(Duration::from_secs), 1.0)
        };
        let delays: Vec<_> = (1..8).map(|tries| delay(tries, 0, None).unwrap().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400]);
        assert_eq!(delay(8, 0, None), None);
        assert_eq!(policy.next_delay(3, Duration::ZERO, None, 0.0), Some(Duration::ZERO));
        assert_eq!(delay(1, 0, Some(20)), Some(Duration::from_secs(20)));
        assert_eq!(delay(1, 20, Some(20)), Some(Duration::from_secs(20)));
        assert_eq!(delay(1, 20, Some(21)), None);
        assert_eq!(delay(1, 40, None), None);
    }
}
