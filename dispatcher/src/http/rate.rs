//! How often somebody may ask: a bucket of tokens for each, which fills at a steady rate (the leaky bucket as a meter).

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
    /// Filled up to `now`, then emptied by `cost`; or how long until there is enough.
    fn take(self, cost: f64, per_s: f64, now: Monotonic) -> Result<Self, Duration> {
        let filled = (self.tokens + now.since(self.at).as_secs_f64() * per_s).min(burst(per_s));
        if filled >= cost {
            return Ok(Self { tokens: filled - cost, at: now });
        }
        Err(Duration::try_from_secs_f64((cost - filled) / per_s).unwrap_or(Duration::MAX))
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

    /// Counts one request that costs this many tokens, or says how long to wait.
    ///
    /// # Errors
    /// The wait.
    pub fn take(&self, who: &str, cost: f64, now: Monotonic) -> Result<(), Duration> {
        // Nothing panics while it is held; should something, counts are still counts.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ASKERS_MAX && !buckets.contains_key(who) {
            buckets.retain(|_, bucket| !bucket.is_full(self.per_s, now));
            if buckets.len() >= ASKERS_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let fresh = Bucket { tokens: burst(self.per_s), at: now };
        let bucket = buckets.get(who).copied().unwrap_or(fresh).take(cost, self.per_s, now)?;
        buckets.insert(who.to_owned(), bucket);
        Ok(())
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
            assert_eq!(table.take("a", 1.0, at(0)), Ok(()));
        }
        assert_eq!(table.take("a", 1.0, at(0)), Err(Duration::from_millis(100)));
        assert_eq!(table.take("b", 1.0, at(0)), Ok(()), "others are not held up");
        assert_eq!(table.take("a", 1.0, at(100)), Ok(()));
        assert!(table.take("a", 1.0, at(150)).is_err());
        assert_eq!(table.take("a", 20.0, at(60_000)), Ok(()), "full again, and no fuller");
        assert!(table.take("a", 1.0, at(60_000)).is_err());
    }

    #[test]
    fn the_table_is_bounded() {
        let table = RateTable::new(1);
        for n in 0..ASKERS_MAX {
            assert_eq!(table.take(&n.to_string(), 1.0, at(0)), Ok(()));
        }
        assert!(table.take("one more", 1.0, at(0)).is_err());
        assert_eq!(table.take("0", 1.0, at(0)), Ok(()), "those who are known go on");
        assert_eq!(table.take("one more", 1.0, at(10_000)), Ok(()), "the others have been forgotten");
        assert_eq!(table.buckets.lock().unwrap().len(), 1);
    }
}
