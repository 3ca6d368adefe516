//! The queue over time as a document: what `GET /v1/queue/history` answers.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::queue::{LaneDocument, QueueDocument};

/// The queue over the last while, the oldest point first. Points are missing where the job store did not answer, and
/// before this process began.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct HistoryDocument {
    every_s: u64,
    points: Vec<PointDocument>,
}

/// The queue at one time, of the same numbers as `GET /v1/queue`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PointDocument {
    at: String,
    /// Ready jobs of high priority.
    high: u64,
    /// Ready jobs of normal priority.
    normal: u64,
    /// Ready jobs of low priority.
    low: u64,
    /// Running jobs of every priority.
    running: u64,
    /// Jobs of every priority that failed and wait for their next attempt.
    retryable: u64,
    audio_hours_waiting: f64,
    completed_per_s: f64,
}

impl HistoryDocument {
    /// Points that are this far apart.
    #[must_use]
    pub fn new(every: Duration, points: Vec<PointDocument>) -> Self {
        Self { every_s: every.as_secs(), points }
    }
}

impl From<&QueueDocument> for PointDocument {
    fn from(queue: &QueueDocument) -> Self {
        let depth = &queue.depth;
        let sum = |of: fn(&LaneDocument) -> u64| of(&depth.high) + of(&depth.normal) + of(&depth.low);
        Self {
            at: queue.at.clone(),
            high: depth.high.ready,
            normal: depth.normal.ready,
            low: depth.low.ready,
            running: sum(|lane| lane.running),
            retryable: sum(|lane| lane.retryable),
            audio_hours_waiting: queue.audio_hours_waiting,
            completed_per_s: queue.rates.completed_per_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::port::job_store::{LaneDepth, QueueStatus};

    use super::*;

    #[test]
    fn a_point_has_the_queues_numbers() {
        let lane =
            |n| LaneDepth { ready: n, scheduled: 10 * n, retryable: 100 * n, running: 1000 * n, outbox: 0 };
        let status = QueueStatus {
            at: Timestamp::from_millis(0),
            depth: [lane(1), lane(2), lane(3)],
            audio_waiting: Duration::from_secs(1800),
            completed_per_s: 1.5,
            ..QueueStatus::default()
        };
        let history =
            HistoryDocument::new(Duration::from_secs(5), vec![(&QueueDocument::from(&status)).into()]);
        assert_eq!(
            serde_json::to_string(&history).unwrap(),
            concat!(
                r#"{"every_s":5,"points":[{"at":"1970-01-01T00:00:00.000Z","high":1,"normal":2,"low":3,"#,
                r#""running":6000,"retryable":600,"audio_hours_waiting":0.5,"completed_per_s":1.5}]}"#
            )
        );
    }
}
