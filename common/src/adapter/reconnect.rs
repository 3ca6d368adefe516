//! How long to wait before the next attempt to connect.
//!
//! Pure: the caller brings the random number and sleeps.

use std::time::Duration;

/// First delay.
const FIRST: Duration = Duration::from_millis(50);
/// No delay is longer: a server that is back is found within this time.
const LONGEST: Duration = Duration::from_secs(3);

/// Delays that double from 50 ms to 3 s, with half of each taken at random so that a fleet does not return in step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reconnect {
    failures: u32,
}

impl Reconnect {
    /// The delay after one more failure. `random` is in 0..=1.
    pub(crate) fn failed(&mut self, random: f64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        whole.div_f64(2.0) + whole.div_f64(2.0).mul_f64(random.clamp(0.0, 1.0))
    }

    /// A connection was made and used: start again at the first delay.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound() {
        let mut reconnect = Reconnect::default();
        let delays: Vec<_> = (0..8).map(|_| reconnect.failed(1.0).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 3000, 3000]);
        reconnect.succeeded();
        assert_eq!(reconnect.failed(0.0), FIRST / 2);
    }
}
