//! Saying once that something failed, and once that it works again.

use std::fmt::Display;

/// The state of one loop, for the log.
#[derive(Debug)]
pub struct Outage {
    what: String,
    failures: u64,
}

impl Outage {
    /// A loop that works so far.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), failures: 0 }
    }

    /// It failed; the first time in a row is logged.
    pub fn failed(&mut self, error: &impl Display) {
        if self.failures == 0 {
            tracing::warn!(what = self.what.as_str(), %error, "failing; trying again");
        }
        self.failures += 1;
    }

    /// It worked; after failures that is logged.
    pub fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(what = self.what.as_str(), failures = self.failures, "works again");
            self.failures = 0;
        }
    }
}
