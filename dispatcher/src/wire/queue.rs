//! The queue in numbers as a document (contract, section 7).

use common::job::lane::Lane;
use common::port::job_store::{LaneDepth, QueueStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::record::seconds;

/// The queue in numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueDocument {
    pub(super) at: String,
    pub(super) depth: DepthDocument,
    outbox: u64,
    dead: u64,
    pub(super) audio_hours_waiting: f64,
    pub(super) rates: RatesDocument,
    oldest_s: Option<f64>,
    drain_s: Option<f64>,
    workers: WorkersDocument,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DepthDocument {
    pub(super) high: LaneDocument,
    pub(super) normal: LaneDocument,
    pub(super) low: LaneDocument,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LaneDocument {
    pub(super) ready: u64,
    scheduled: u64,
    pub(super) retryable: u64,
    pub(super) running: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RatesDocument {
    arrived_per_s: f64,
    pub(super) completed_per_s: f64,
    audio_s_per_s: f64,
}

#[derive(Debug, Serialize, ToSchema)]
struct WorkersDocument {
    alive: u64,
    wanted: u64,
}

impl From<&LaneDepth> for LaneDocument {
    fn from(depth: &LaneDepth) -> Self {
        let LaneDepth { ready, scheduled, retryable, running, outbox: _ } = *depth;
        Self { ready, scheduled, retryable, running }
    }
}

impl From<&QueueStatus> for QueueDocument {
    fn from(status: &QueueStatus) -> Self {
        let places = |value: f64, scale: f64| (value * scale).round() / scale;
        Self {
            at: status.at.to_string(),
            depth: DepthDocument {
                high: status.lane(Lane::High).into(),
                normal: status.lane(Lane::Normal).into(),
                low: status.lane(Lane::Low).into(),
            },
            outbox: status.outbox(),
            dead: status.dead,
            audio_hours_waiting: places(status.audio_waiting_estimate().as_secs_f64() / 3600.0, 1e4),
            rates: RatesDocument {
                arrived_per_s: places(status.arrived_per_s, 1e3),
                completed_per_s: places(status.completed_per_s, 1e3),
                audio_s_per_s: places(status.audio_s_per_s, 1e3),
            },
            oldest_s: status.oldest.map(seconds),
            drain_s: status.drain().map(seconds),
            workers: WorkersDocument { alive: status.workers_alive, wanted: status.workers_wanted() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::clock::Timestamp;
    use common::scaling::Load;

    use super::*;

    #[test]
    fn the_document_has_the_contracts_keys() {
        let lane = LaneDepth { ready: 1, scheduled: 2, retryable: 3, running: 4, outbox: 5 };
        let status = QueueStatus {
            at: Timestamp::from_millis(0),
            depth: [lane; 3],
            dead: 6,
            exports: 0,
            exports_overdue: 0,
            webhooks: 0,
            audio_waiting: Duration::from_secs(5400),
            arrived_per_s: 0.1,
            completed_per_s: 0.25,
            audio_s_per_s: 9.0,
            oldest: Some(Duration::from_millis(1500)),
            workers_alive: 2,
            load: Load { waiting_timed: 18, ready_timed: 3, ..Load::default() },
            ..QueueStatus::default()
        };
        assert_eq!(
            serde_json::to_string(&QueueDocument::from(&status)).unwrap(),
            concat!(
                r#"{"at":"1970-01-01T00:00:00.000Z","#,
                r#""depth":{"high":{"ready":1,"scheduled":2,"retryable":3,"running":4},"#,
                r#""normal":{"ready":1,"scheduled":2,"retryable":3,"running":4},"#,
                r#""low":{"ready":1,"scheduled":2,"retryable":3,"running":4}},"#,
                r#""outbox":15,"dead":6,"audio_hours_waiting":1.5,"#,
                r#""rates":{"arrived_per_s":0.1,"completed_per_s":0.25,"audio_s_per_s":9.0},"#,
                r#""oldest_s":1.5,"drain_s":600.0,"workers":{"alive":2,"wanted":1}}"#
            )
        );
    }
}
