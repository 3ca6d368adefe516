//! Keys that were good a moment ago, so that whoever shares an address with somebody who guesses is not held up with them:
//! behind a proxy all clients are one peer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::clock::Monotonic;
use common::job::digest::ContentDigest;

/// How long a key is known after a request that it opened.
const KNOWN: Duration = Duration::from_secs(60);
/// Most keys that are known at a time; others are looked up as if they came for the first time.
const KEYS_MAX: usize = 10_000;

/// What was shown and good, by its digest, with the time of the last request.
#[derive(Default)]
pub struct Opened(Mutex<HashMap<ContentDigest, Monotonic>>);

impl Opened {
    /// Whether this was good within the last minute. It may have been revoked since: ask the key store all the same.
    pub fn knows(&self, shown: &ContentDigest, now: Monotonic) -> bool {
        // Nothing panics while it is held.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(shown).is_some_and(|at| now.since(*at) < KNOWN)
    }

    /// This is good now.
    pub fn good(&self, shown: ContentDigest, now: Monotonic) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS_MAX && !known.contains_key(&shown) {
            known.retain(|_, at| now.since(*at) < KNOWN);
        }
        if known.len() < KEYS_MAX || known.contains_key(&shown) {
            known.insert(shown, now);
        }
    }

    /// This is not good any more.
    pub fn wrong(&self, shown: &ContentDigest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_good_is_known_for_a_minute_and_within_bounds() {
        let (opened, at) = (Opened::default(), Monotonic::from_millis);
        let key = |n: usize| ContentDigest::of(&n.to_le_bytes());
        assert!(!opened.knows(&key(0), at(0)));
        opened.good(key(0), at(0));
        assert!(opened.knows(&key(0), at(59_999)) && !opened.knows(&key(0), at(60_000)));
        opened.good(key(0), at(50_000));
        assert!(opened.knows(&key(0), at(60_000)));
        opened.wrong(&key(0));
        assert!(!opened.knows(&key(0), at(60_000)));
        for n in 0..=KEYS_MAX {
            opened.good(key(n), at(60_000));
        }
        assert!(opened.knows(&key(0), at(60_000)) && !opened.knows(&key(KEYS_MAX), at(60_000)));
        opened.good(key(KEYS_MAX), at(120_000));
        assert!(opened.knows(&key(KEYS_MAX), at(120_000)), "those of before are forgotten");
        assert_eq!(opened.0.lock().unwrap().len(), 1);
    }
}
