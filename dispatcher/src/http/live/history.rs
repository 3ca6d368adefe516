//! The queue over the last hour: a ring of points.

use std::collections::VecDeque;

use crate::wire::history::PointDocument;

/// Points that are kept: an hour of one every five seconds.
pub const POINTS_MAX: usize = 720;

/// The last [`POINTS_MAX`] points.
#[derive(Debug, Default)]
pub struct History(VecDeque<PointDocument>);

impl History {
    /// Adds a point; forgets the oldest where there are too many.
    pub fn push(&mut self, point: PointDocument) {
        if self.0.len() >= POINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// The points, the oldest first.
    pub fn points(&self) -> Vec<PointDocument> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {

    use common::clock::Timestamp;
    use common::port::job_store::{LaneDepth, QueueStatus};

    use super::*;
    use crate::wire::queue::QueueDocument;

    fn point(n: u64) -> PointDocument {
        let status = QueueStatus {
            at: Timestamp::from_millis(5000 * n),
            depth: [LaneDepth { ready: n, ..LaneDepth::default() }; 3],
            ..QueueStatus::default()
        };
        (&QueueDocument::from(&status)).into()
    }

    #[test]
    fn the_last_hour_is_kept_in_order() {
        let mut history = History::default();
        assert!(history.points().is_empty());
        let most = POINTS_MAX as u64;
        (0..most).for_each(|n| history.push(point(n)));
        assert_eq!(history.points(), (0..most).map(point).collect::<Vec<_>>(), "all of them fit");
        history.push(point(most));
        assert_eq!(history.points(), (1..=most).map(point).collect::<Vec<_>>(), "the oldest is gone");
        (most + 1..3 * most).for_each(|n| history.push(point(n)));
        assert_eq!(history.points(), (2 * most..3 * most).map(point).collect::<Vec<_>>());
    }
}
