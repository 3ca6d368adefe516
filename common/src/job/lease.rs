//! The right to work on a job, as a value.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::id::JobId;
use super::spec::JobSpec;
use crate::clock::Monotonic;

/// 128 random bits that make a lease unique even when a job store that lost its last second hands out a token twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 16]);

/// Text that is no nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a nonce of 32 hexadecimal digits: `{text}`")]
pub struct NonceError {
    /// What was given, cut to 64 characters.
    pub text: String,
}

impl Nonce {
    /// From a random source.
    #[must_use]
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({self})")
    }
}

impl FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NonceError { text: text.chars().take(64).collect() };
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refused());
        }
        u128::from_str_radix(text, 16).map(|value| Self(value.to_be_bytes())).map_err(|_| refused())
    }
}

/// What names one attempt: the job, its token, its nonce. Every write about a running job carries it and is applied only
/// while the record still holds the same three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey {
    /// The job.
    pub job: JobId,
    /// Grows with every lease of this job and when a lease is ended by rescue; never shrinks.
    pub token: u64,
    /// Chosen by the worker before it asks.
    pub nonce: Nonce,
}

/// The right to work on `payload` until a deadline.
///
/// Invariant: the deadline lies on the holder's own monotonic clock, was read *before* the call that granted or extended
/// the lease, and so is never later than the job store's own expiry as long as both clocks run at the same rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease<T = JobSpec> {
    key: LeaseKey,
    deadline: Monotonic,
    /// What is to be worked on.
    pub payload: T,
    /// The how-manyth try this is, from 1; interruptions do not count.
    pub attempt: u32,
    /// Failed attempts before this one.
    pub attempts: u32,
    /// Crashes before this one.
    pub crashes: u32,
    /// How long the job had been available, by the job store's clock; `None` where it did not say.
    pub waited: Option<Duration>,
}

impl<T> Lease<T> {
    /// A lease that a job store granted for `lasts` to a caller who read `called_at` before asking.
    #[must_use]
    pub fn granted(
        key: LeaseKey,
        payload: T,
        called_at: Monotonic,
        lasts: Duration,
        counts: (u32, u32),
    ) -> Self {
        let (attempts, crashes) = counts;
        let attempt = attempts.saturating_add(crashes).saturating_add(1);
        Self { key, deadline: called_at.plus(lasts), payload, attempt, attempts, crashes, waited: None }
    }

    /// The same lease on a job that had been available for so long.
    #[must_use]
    pub fn after(self, waited: Duration) -> Self {
        Self { waited: Some(waited), ..self }
    }

    /// What names this attempt.
    #[must_use]
    pub fn key(&self) -> &LeaseKey {
        &self.key
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.key.job
    }

    /// When the right ends unless it is extended.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.deadline
    }

    /// How long the right still lasts; zero when it has ended.
    #[must_use]
    pub fn remaining(&self, now: Monotonic) -> Duration {
        self.deadline.since(now)
    }

    /// Whether work may go on.
    #[must_use]
    pub fn is_held(&self, now: Monotonic) -> bool {
        now < self.deadline
    }

    /// The job store extended the lease for a caller who read `called_at` before asking. A late answer to an early
    /// question never shortens it.
    pub fn extend(&mut self, called_at: Monotonic, lasts: Duration) {
        self.deadline = self.deadline.max(called_at.plus(lasts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn lease(called_at: u64) -> Lease<()> {
        let key = LeaseKey {
            job: JobId::new(Timestamp::from_millis(1), [1; 16]),
            token: 3,
            nonce: Nonce::new([0xa0; 16]),
        };
        Lease::granted(key, (), Monotonic::from_millis(called_at), Duration::from_secs(30), (1, 2))
    }

    #[test]
    fn the_deadline_counts_from_before_the_call() {
        let mut lease = lease(1000);
        assert_eq!(lease.attempt, 4);
        assert!(lease.is_held(Monotonic::from_millis(30_999)));
        assert!(!lease.is_held(Monotonic::from_millis(31_000)));
        assert_eq!(lease.remaining(Monotonic::from_millis(32_000)), Duration::ZERO);
        lease.extend(Monotonic::from_millis(11_000), Duration::from_secs(30));
        assert_eq!(lease.deadline(), Monotonic::from_millis(41_000));
        lease.extend(Monotonic::from_millis(5000), Duration::from_secs(30));
        assert_eq!(lease.deadline(), Monotonic::from_millis(41_000), "an old answer does not shorten it");
    }

    #[test]
    fn nonces_survive_text() {
        let nonce = Nonce::new(std::array::from_fn(|i| u8::try_from(i * 17).unwrap()));
        assert_eq!(nonce.to_string(), "00112233445566778899aabbccddeeff");
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        for text in
            ["", "0", &"0".repeat(31), &"0".repeat(33), &"g".repeat(32), &format!("+{}", "0".repeat(31))]
        {
            assert!(text.parse::<Nonce>().is_err(), "{text}");
        }
    }
}
