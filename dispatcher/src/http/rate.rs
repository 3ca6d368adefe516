//! How often somebody may ask: a bucket of tokens for each, which fills at a steady rate (the leaky bucket as a meter). A
//! bucket may be in debt: what turns out to cost more than was taken for it is paid by waiting.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::clock::Monotonic;

/// Most askers that are remembered; above that, those whose bucket is full again are forgotten.
const ASKERS_MAX: usize = 10_000;

/// Buckets by asker.
pub struct RateTable {
    per_s: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    tokens: f64,
    at: Monotonic,
}

impl Bucket {
    /// Filled up to `now`.
    fn filled(self, per_s: f64, now: Monotonic) -> Self {
        let tokens = self.tokens + now.since(self.at).as_secs_f64() * per_s;
        Self { tokens: tokens.min(burst(per_s)), at: now }
    }

    /// Filled up to `now`, then emptied by one token; or how long until there is one.
    fn take(self, per_s: f64, now: Monotonic) -> Result<Self, Duration> {
        let filled = self.filled(per_s, now);
        if filled.tokens >= 1.0 {
            return Ok(Self { tokens: filled.tokens - 1.0, ..filled });
        }
        Err(Duration::try_from_secs_f64((1.0 - filled.tokens) / per_s).unwrap_or(Duration::MAX))
    }

    fn is_full(&self, per_s: f64, now: Monotonic) -> bool {
        self.tokens + now.since(self.at).as_secs_f64() * per_s >= burst(per_s)
    }
}

/// What may be asked at once after a pause.
fn burst(per_s: f64) -> f64 {
    2.0 * per_s
}

impl RateTable {
    /// Everybody may ask `per_s` times a second, and twice as often at once.
    pub fn new(per_s: u32) -> Self {
        Self { per_s: f64::from(per_s.max(1)), buckets: Mutex::default() }
    }

    /// Counts one request, or says how long to wait.
    ///
    /// # Errors
    /// The wait.
    pub fn take(&self, who: &str, now: Monotonic) -> Result<(), Duration> {
        // Nothing panics while it is held; should something, counts are still counts.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ASKERS_MAX && !buckets.contains_key(who) {
            buckets.retain(|_, bucket| !bucket.is_full(self.per_s, now));
            if buckets.len() >= ASKERS_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let fresh = Bucket { tokens: burst(self.per_s), at: now };
        let bucket = buckets.get(who).copied().unwrap_or(fresh).take(self.per_s, now)?;
        buckets.insert(who.to_owned(), bucket);
        Ok(())
    }

    /// Charges for a request that was counted, `more` tokens besides its own, or gives back what it was charged.
    pub fn charge(&self, who: &str, more: f64, now: Monotonic) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever was forgotten meanwhile had a full bucket, but for this one request.
        if let Some(bucket) = buckets.get_mut(who) {
            let filled = bucket.filled(self.per_s, now);
            *bucket = Bucket { tokens: (filled.tokens - more).min(burst(self.per_s)), ..filled };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let table = RateTable::new(10);
        for _ in 0..20 {
            assert_eq!(table.take("a", at(0)), Ok(()));
        }
        assert_eq!(table.take("a", at(0)), Err(Duration::from_millis(100)));
        assert_eq!(table.take("b", at(0)), Ok(()), "others are not held up");
        assert_eq!(table.take("a", at(100)), Ok(()));
        assert!(table.take("a", at(150)).is_err());
        for _ in 0..20 {
            assert_eq!(table.take("a", at(60_000)), Ok(()), "full again");
        }
        assert!(table.take("a", at(60_000)).is_err(), "and no fuller");
    }

    #[test]
    fn a_debt_is_paid_by_waiting() {
        for (per_s, wait_ms) in [(1, 49_000), (10, 3_100)] {
            let table = RateTable::new(per_s);
            assert_eq!(table.take("a", at(0)), Ok(()), "however low the rate, the first is heard");
            table.charge("a", 49.0, at(0));
            assert_eq!(table.take("a", at(0)), Err(Duration::from_millis(wait_ms)), "{per_s}");
            assert!(table.take("a", at(wait_ms - 1)).is_err());
            assert_eq!(table.take("a", at(wait_ms)), Ok(()));
        }
        let table = RateTable::new(1);
        for _ in 0..100 {
            assert_eq!(table.take("a", at(0)), Ok(()));
            table.charge("a", -1.0, at(0));
        }
        table.charge("nobody", 49.0, at(0));
        assert_eq!(table.take("nobody", at(0)), Ok(()));
    }

    #[test]
    fn the_table_is_bounded() {
        let table = RateTable::new(1);
        for n in 0..ASKERS_MAX {
            assert_eq!(table.take(&n.to_string(), at(0)), Ok(()));
        }
        assert!(table.take("one more", at(0)).is_err());
        assert_eq!(table.take("0", at(0)), Ok(()), "those who are known go on");
        assert_eq!(table.take("one more", at(10_000)), Ok(()), "the others have been forgotten");
        assert_eq!(table.buckets.lock().unwrap().len(), 1);
    }
}
