//! Every metric: its name, its kind, what it means, its labels.
//!
//! Invariant: a name ends in its unit (`_seconds`, `_bytes`, `_ratio`) and, for counters, in `_total`; it begins with
//! `rollcall_`, but for those that every process of any kind has (`process_`). Names are an API: dashboards, alerts and
//! scalers read them.

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only ever grows, from 0 at the start of its process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values up to each of these bounds.
    Histogram(&'static [f64]),
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it means, in one line.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels }
}

const fn histogram(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), help, labels }
}

/// Answers of HTTP: from a health check to an upload.
const HTTP_S: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Parts of a job: from a short recording on a GPU to 24 hours on a CPU.
const WORK_S: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
/// Waits in the queue: from an idle fleet to a backlog of hours.
const WAIT_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0];
/// Time of work per time of audio: from a large GPU to slower than the recording itself.
const RATIO: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// Whether the job store answered.
pub const JOB_STORE_UP: Metric = gauge(
    "rollcall_job_store_up",
    &[],
    "Whether the job store answered this scrape; without it the queue's metrics are absent.",
);
/// Jobs that are not final.
pub const JOBS: Metric = gauge("rollcall_jobs", &["state", "priority"], "Jobs that are not final.");
/// Audio that waits.
pub const AUDIO_WAITING: Metric = gauge(
    "rollcall_audio_waiting_seconds",
    &[],
    "Audio of the jobs that wait in any state, also for their time; unknown lengths are estimated.",
);
/// Age of the oldest job.
pub const OLDEST_JOB: Metric = gauge(
    "rollcall_oldest_job_age_seconds",
    &[],
    "How long the oldest available job has been available; 0 when none is.",
);
/// Jobs coming in.
pub const ARRIVED: Metric =
    gauge("rollcall_arrived_jobs_per_second", &[], "Jobs accepted per second over the last minute.");
/// Jobs completed.
pub const COMPLETED: Metric =
    gauge("rollcall_completed_jobs_per_second", &[], "Jobs completed per second over the last minute.");
/// Audio completed.
pub const COMPLETED_AUDIO: Metric = gauge(
    "rollcall_completed_audio_seconds_per_second",
    &[],
    "Seconds of audio completed per second over the last minute.",
);
/// Bells to publish.
pub const OUTBOX: Metric = gauge("rollcall_outbox_notices", &[], "Notices that wait to be published.");
/// Age of the outbox.
pub const OUTBOX_AGE: Metric = gauge(
    "rollcall_outbox_age_seconds",
    &[],
    "How long the job of the next notice to be published has been available; 0 when none waits.",
);
/// Dead letters.
pub const DEAD: Metric = gauge("rollcall_dead_jobs", &[], "Discarded jobs that are kept.");
/// Exports left.
pub const EXPORTS: Metric = gauge(
    "rollcall_waiting_exports",
    &[],
    "Completed jobs whose documents are not at their stable keys yet.",
);
/// Exports left over.
pub const OVERDUE_EXPORTS: Metric = gauge(
    "rollcall_overdue_exports",
    &[],
    "Completed jobs whose worker has not exported them in its time, and which nobody else does yet.",
);
/// Webhooks left.
pub const WEBHOOKS: Metric = gauge("rollcall_waiting_webhooks", &[], "Webhooks that wait to be delivered.");
/// Workers alive.
pub const WORKERS_ALIVE: Metric = gauge("rollcall_workers_alive", &[], "Workers that were heard of lately.");
/// Workers wanted.
pub const WORKERS_WANTED: Metric =
    gauge("rollcall_workers_wanted", &[], "Workers that the scaling policy asks for.");
/// What one worker does.
pub const WORKER_CAPACITY: Metric = gauge(
    "rollcall_worker_capacity_audio_seconds_per_second",
    &[],
    "Seconds of audio that one busy worker does per second, as measured by the workers; 0 before the first measurement.",
);

/// Requests answered.
pub const HTTP_REQUESTS: Metric =
    counter("rollcall_http_requests_total", &["route", "status"], "HTTP requests answered.");
/// How long they took.
pub const HTTP_DURATION: Metric = histogram(
    "rollcall_http_request_duration_seconds",
    HTTP_S,
    &["route"],
    "Time from an HTTP request to its answer.",
);

/// Notices relayed.
pub const RELAYED: Metric = counter(
    "rollcall_relayed_notices_total",
    &["outcome"],
    "Notices given to the queue, by whether it confirmed them.",
);
/// Jobs leased without a notice.
pub const UNHEARD: Metric = counter(
    "rollcall_unheard_jobs_total",
    &[],
    "Jobs that a worker with room took though the queue gave no notice of them.",
);
/// Leases that ran out.
pub const EXPIRED: Metric = counter(
    "rollcall_expired_leases_total",
    &[],
    "Leases that ran out and were ended by this process: each is a worker that vanished or stood still.",
);
/// Bells rung again.
pub const RUNG: Metric = counter(
    "rollcall_rung_notices_total",
    &[],
    "Notices put into the outbox again because the queue had lost them.",
);

/// Jobs held.
pub const WORKER_JOBS: Metric = gauge("rollcall_worker_jobs", &[], "Jobs that this worker holds.");
/// Jobs it can hold.
pub const WORKER_SLOTS: Metric = gauge("rollcall_worker_slots", &[], "Jobs that this worker holds at most.");
/// Whether it drains.
pub const WORKER_DRAINING: Metric =
    gauge("rollcall_worker_draining", &[], "Whether this worker takes no more jobs.");
/// Endings.
pub const SETTLED: Metric = counter(
    "rollcall_settled_jobs_total",
    &["state"],
    "Attempts that this worker ended, by the state that the job came into.",
);
/// Failures.
pub const FAILURES: Metric =
    counter("rollcall_failures_total", &["code"], "Failed attempts of this worker, by failure code.");
/// Leases lost.
pub const LOST_LEASES: Metric = counter(
    "rollcall_lost_leases_total",
    &[],
    "Attempts that this worker gave up because their lease was lost.",
);
/// Heartbeats missed.
pub const HEARTBEAT_FAILURES: Metric =
    counter("rollcall_heartbeat_failures_total", &[], "Heartbeats that the job store did not take.");
/// Stages.
pub const STAGE_DURATION: Metric = histogram(
    "rollcall_stage_duration_seconds",
    WORK_S,
    &["stage"],
    "Time of a stage of an attempt; of the networks, the engine time spent on it.",
);
/// Attempts.
pub const ATTEMPT_DURATION: Metric = histogram(
    "rollcall_attempt_duration_seconds",
    WORK_S,
    &[],
    "Time from a lease to the end of its attempt.",
);
/// Work per audio.
pub const REALTIME_RATIO: Metric = histogram(
    "rollcall_realtime_ratio",
    RATIO,
    &[],
    "Time of a completed attempt divided by the length of its recording.",
);
/// Audio done.
pub const AUDIO_DONE: Metric =
    counter("rollcall_completed_audio_seconds_total", &[], "Audio of the attempts that completed.");
/// Waits.
pub const DELIVERY_DELAY: Metric = histogram(
    "rollcall_delivery_delay_seconds",
    WAIT_S,
    &[],
    "Time from a job becoming available to its lease.",
);

/// Engines.
pub const DEVICE_ENGINES: Metric =
    gauge("rollcall_device_engines", &[], "Engines that share the device's queue.");
/// Batches.
pub const DEVICE_BATCHES: Metric = counter("rollcall_device_batches_total", &["network"], "Batches run.");
/// Rows.
pub const DEVICE_ROWS: Metric = counter("rollcall_device_rows_total", &["network"], "Rows in those batches.");
/// Room for rows.
pub const DEVICE_ROW_CAPACITY: Metric = counter(
    "rollcall_device_row_capacity_total",
    &["network"],
    "Rows that those batches had room for: rows divided by this is how full batches are.",
);
/// Busy time.
pub const DEVICE_BUSY: Metric = counter(
    "rollcall_device_busy_seconds_total",
    &["network"],
    "Time that engines spent in a network; divided by time and engines it is their utilisation.",
);
/// Memory of the device's pool.
pub const DEVICE_MEMORY: Metric = gauge(
    "rollcall_device_memory_bytes",
    &["kind"],
    "Memory of the device's pool: used, reserved, and the most ever reserved. Absent on a CPU.",
);
/// Utilisation as the device says it.
pub const DEVICE_UTILIZATION: Metric = gauge(
    "rollcall_device_utilization_ratio",
    &[],
    "Utilisation as the device's driver says it. Absent where it says nothing.",
);

/// Spans.
pub const SPANS: Metric = counter(
    "rollcall_spans_total",
    &["outcome"],
    "Spans of traces: sent, refused by the collector, or dropped because too many waited.",
);
/// What runs.
pub const BUILD_INFO: Metric =
    gauge("rollcall_build_info", &["version"], "1; the version stands in the label.");
/// Resident memory.
pub const PROCESS_MEMORY: Metric =
    gauge("process_resident_memory_bytes", &[], "Resident memory of this process.");
/// Processor time.
pub const PROCESS_CPU: Metric =
    counter("process_cpu_seconds_total", &[], "Processor time of this process, user and system.");
/// Open files.
pub const PROCESS_FILES: Metric = gauge("process_open_fds", &[], "Open file descriptors of this process.");

/// All of them.
pub const ALL: &[Metric] = &[
    JOB_STORE_UP,
    JOBS,
    AUDIO_WAITING,
    OLDEST_JOB,
    ARRIVED,
    COMPLETED,
    COMPLETED_AUDIO,
    OUTBOX,
    OUTBOX_AGE,
    DEAD,
    EXPORTS,
    OVERDUE_EXPORTS,
    WEBHOOKS,
    WORKERS_ALIVE,
    WORKERS_WANTED,
    WORKER_CAPACITY,
    HTTP_REQUESTS,
    HTTP_DURATION,
    RELAYED,
    UNHEARD,
    EXPIRED,
    RUNG,
    WORKER_JOBS,
    WORKER_SLOTS,
    WORKER_DRAINING,
    SETTLED,
    FAILURES,
    LOST_LEASES,
    HEARTBEAT_FAILURES,
    STAGE_DURATION,
    ATTEMPT_DURATION,
    REALTIME_RATIO,
    AUDIO_DONE,
    DELIVERY_DELAY,
    DEVICE_ENGINES,
    DEVICE_BATCHES,
    DEVICE_ROWS,
    DEVICE_ROW_CAPACITY,
    DEVICE_BUSY,
    DEVICE_MEMORY,
    DEVICE_UTILIZATION,
    SPANS,
    BUILD_INFO,
    PROCESS_MEMORY,
    PROCESS_CPU,
    PROCESS_FILES,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_different_and_bounds_grow() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }
}
