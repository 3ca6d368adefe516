//! The queue and the workers: tables and JSON.

use std::fmt::Write as _;

use common::job::lane::Lane;
use common::job::worker::WorkerSeen;
use common::port::job_store::QueueStatus;

use super::json_line;
use super::length::short;
use super::table::Table;
use crate::wire::queue::QueueDocument;
use crate::wire::worker::WorkerDocument;

/// The queue in numbers, as a JSON line.
#[must_use]
pub fn queue_json(status: &QueueStatus) -> String {
    json_line(&QueueDocument::from(status))
}

/// The queue in numbers, at most 72 columns wide.
#[must_use]
pub fn queue(status: &QueueStatus) -> String {
    let header = ["priority", "ready", "running", "retryable", "scheduled"];
    let mut table = Table::new(&header).number(1).number(2).number(3).number(4);
    for lane in Lane::ALL {
        let depth = status.lane(lane);
        let cells = [depth.ready, depth.running, depth.retryable, depth.scheduled].map(|n| n.to_string());
        let [ready, running, retryable, scheduled] = cells;
        table.row([lane.to_string(), ready, running, retryable, scheduled]);
    }
    let mut out = table.render(None);
    let mut line = |name: &str, text: String| writeln!(out, "{name:8}  {text}").expect("writing to memory");
    let hours = status.audio_waiting_estimate().as_secs_f64() / 3600.0;
    let oldest =
        status.oldest.map_or_else(String::new, |oldest| format!(", the oldest for {}", short(oldest)));
    line(
        "waiting",
        format!("{hours:.2} h of audio{oldest}; {} notices to send; {} dead", status.outbox(), status.dead),
    );
    line(
        "rates",
        format!(
            "{:.2} jobs/s in, {:.2} jobs/s out, {:.1} s of audio a second",
            status.arrived_per_s, status.completed_per_s, status.audio_s_per_s
        ),
    );
    let drain = match status.drain() {
        Some(drain) if drain.is_zero() => "nothing to do".to_owned(),
        Some(drain) => format!("done in {}", short(drain)),
        None => "nothing is being done".to_owned(),
    };
    let wanted = status.workers_wanted();
    line("workers", format!("{} alive, {wanted} wanted; {drain}", status.workers_alive));
    out
}

/// Workers as a JSON array in one line.
#[must_use]
pub fn workers_json(workers: &[WorkerSeen]) -> String {
    json_line(&workers.iter().map(WorkerDocument::from).collect::<Vec<_>>())
}

/// A line a worker.
#[must_use]
pub fn workers(workers: &[WorkerSeen], width: Option<usize>) -> String {
    let header = ["worker", "device", "bundle", "jobs", "audio s/s", "seen"];
    let mut table =
        Table::new(&header).flexible(0, 14).flexible(1, 8).flexible(2, 10).number(3).number(4).number(5);
    for WorkerSeen { info, last_seen } in workers {
        let device = if info.device_name.is_empty() || info.device_name == info.device {
            info.device.clone()
        } else {
            format!("{} ({})", info.device, info.device_name)
        };
        let draining = if info.draining { " draining" } else { "" };
        table.row([
            info.id.to_string(),
            device,
            format!("{}@{}", info.bundle, info.version),
            format!("{}/{}{draining}", info.jobs, info.slots),
            format!("{:.1}", info.audio_s_per_s),
            short(*last_seen),
        ]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::clock::Timestamp;
    use common::job::worker::{WorkerId, WorkerInfo};
    use common::port::job_store::LaneDepth;
    use common::scaling::Load;

    use super::*;

    #[test]
    fn the_queue_is_a_small_table() {
        let mut status = QueueStatus {
            at: Timestamp::from_millis(0),
            depth: [LaneDepth::default(); 3],
            dead: 2,
            exports: 0,
            exports_overdue: 0,
            webhooks: 0,
            audio_waiting: Duration::from_secs(5400),
            arrived_per_s: 0.5,
            completed_per_s: 0.25,
            audio_s_per_s: 10.0,
            oldest: Some(Duration::from_secs(12)),
            workers_alive: 3,
            ..QueueStatus::default()
        };
        status.load = Load {
            waiting_timed: 125,
            ready_timed: 120,
            ready_audio: status.audio_waiting,
            ..Load::default()
        };
        status.depth[1] = LaneDepth { ready: 120, scheduled: 4, retryable: 1, running: 6, outbox: 7 };
        let text = queue(&status);
        assert_eq!(
            text,
            "priority  ready  running  retryable  scheduled\n\
             high          0        0          0          0\n\
             normal      120        6          1          4\n\
             low           0        0          0          0\n\
             waiting   1.50 h of audio, the oldest for 12 s; 7 notices to send; 2 dead\n\
             rates     0.50 jobs/s in, 0.25 jobs/s out, 10.0 s of audio a second\n\
             workers   3 alive, 1 wanted; done in 9 min\n"
        );
    }

    #[test]
    fn workers_are_told_in_lines_that_fit() {
        let info = WorkerInfo {
            id: WorkerId::new("a-host-with-a-long-name.example", [7; 16]),
            host: "a-host-with-a-long-name.example".to_owned(),
            device: "cpu".to_owned(),
            device_name: "Some processor of 64 cores".to_owned(),
            bundle: "starter".to_owned(),
            version: "1.0.0".to_owned(),
            jobs: 1,
            slots: 2,
            audio_s_per_s: 12.34,
            capacity: None,
            draining: true,
        };
        let seen = [WorkerSeen { info, last_seen: Duration::from_millis(1234) }];
        let text = workers(&seen, Some(80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("1/2 draining") && text.contains("12.3"), "{text}");
        let keys = r#""device":"cpu","device_name":"Some processor of 64 cores","bundle":"starter","version":"1.0.0","jobs":1,"slots":2,"audio_s_per_s":12.34,"last_seen_s":1.234,"draining":true}]"#;
        assert!(workers_json(&seen).contains(keys));
    }
}
