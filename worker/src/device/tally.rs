//! What a device has done so far, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::batch::plan::Network;

/// Counts that lanes add to and anybody reads.
#[derive(Debug, Default)]
pub struct Tally([Counts; Network::ALL.len()]);

#[derive(Debug, Default)]
struct Counts {
    batches: AtomicU64,
    rows: AtomicU64,
    room: AtomicU64,
    busy_ns: AtomicU64,
}

/// What was done with one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Batches run.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows that they had room for.
    pub room: u64,
    /// Time that engines spent.
    pub busy: Duration,
}

impl Tally {
    /// A batch of `rows`, of at most `room`, took so long.
    pub fn add(&self, network: Network, rows: usize, room: usize, busy: Duration) {
        let counts = &self.0[network as usize];
        counts.batches.fetch_add(1, Ordering::Relaxed);
        counts.rows.fetch_add(rows as u64, Ordering::Relaxed);
        counts.room.fetch_add(room as u64, Ordering::Relaxed);
        counts.busy_ns.fetch_add(u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was done with a network. The four counts may be of different moments, a batch apart.
    #[must_use]
    pub fn done(&self, network: Network) -> Done {
        let counts = &self.0[network as usize];
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Done {
            batches: read(&counts.batches),
            rows: read(&counts.rows),
            room: read(&counts.room),
            busy: Duration::from_nanos(read(&counts.busy_ns)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_counted_apart() {
        let tally = Tally::default();
        tally.add(Network::Embedding, 3, 4, Duration::from_millis(5));
        tally.add(Network::Embedding, 4, 4, Duration::from_millis(6));
        let busy = Duration::from_millis(11);
        assert_eq!(tally.done(Network::Embedding), Done { batches: 2, rows: 7, room: 8, busy });
        assert_eq!(tally.done(Network::Segmentation), Done::default());
    }
}
