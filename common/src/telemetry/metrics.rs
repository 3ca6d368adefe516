//! What is counted as it happens. Without [`start`] every function here does nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalogue as names;
use super::catalogue::Kind;
use super::exposition::{self, Exposition};
use crate::fleet::relay::Relayed;
use crate::fleet::rescue::Rescued;
use crate::job::failure::{FailureCode, Stage};
use crate::job::record::JobState;

static PAGE: OnceLock<PrometheusHandle> = OnceLock::new();

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `rollcall serve`.
    Service,
    /// A worker.
    Worker,
}

/// How often what histograms have taken in is put in order when nobody scrapes.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Counts from now on. Counters whose labels are known begin at 0, so that their first increase is seen.
///
/// # Panics
/// When the catalogue has a histogram without bounds, which its test excludes.
pub fn start(role: Role) {
    let mut builder = PrometheusBuilder::new();
    for metric in names::ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            let matcher = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(matcher, bounds).expect("a histogram has bounds");
        }
    }
    // Another recorder would be a test's; then there is nothing for us to count.
    let Ok(handle) = builder.install_recorder() else { return };
    if PAGE.set(handle).is_err() {
        return;
    }
    for metric in names::ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    for outcome in ["confirmed", "unconfirmed"] {
        counter!(names::RELAYED.name, "outcome" => outcome).increment(0);
    }
    for outcome in ["sent", "refused", "dropped"] {
        counter!(names::SPANS.name, "outcome" => outcome).increment(0);
    }
    counter!(names::EXPIRED.name).increment(0);
    counter!(names::RUNG.name).increment(0);
    if role == Role::Worker {
        worker_from_zero();
    }
}

fn worker_from_zero() {
    for state in [
        JobState::Completed,
        JobState::Available,
        JobState::Retryable,
        JobState::Discarded,
        JobState::Cancelled,
    ] {
        counter!(names::SETTLED.name, "state" => state.as_str()).increment(0);
    }
    for code in FailureCode::ALL {
        counter!(names::FAILURES.name, "code" => code.as_str()).increment(0);
    }
    counter!(names::LOST_LEASES.name).increment(0);
    counter!(names::HEARTBEAT_FAILURES.name).increment(0);
    counter!(names::AUDIO_DONE.name).increment(0);
    gauge!(names::WORKER_JOBS.name).set(0.0);
    gauge!(names::WORKER_DRAINING.name).set(0.0);
}

/// The page: what was counted, the process, and what the caller read just now.
#[must_use]
pub fn page(mut now: Exposition) -> String {
    now.count(&names::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    exposition::process(&mut now);
    let counted = PAGE.get().map(PrometheusHandle::render).unwrap_or_default();
    let mut text = now.finish();
    // The recorder puts an empty line after each metric.
    counted.lines().filter(|line| !line.is_empty()).for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    text
}

/// Keeps memory bounded where nobody scrapes; never ends.
pub async fn tidy() {
    let mut every = tokio::time::interval(TIDY_EVERY);
    loop {
        every.tick().await;
        if let Some(handle) = PAGE.get() {
            handle.run_upkeep();
        }
    }
}

/// A request was answered. `route` is the pattern, never the path: `/v1/jobs/{id}`.
pub fn http_request(route: &str, status: u16, took: Duration) {
    counter!(names::HTTP_REQUESTS.name, "route" => route.to_owned(), "status" => status.to_string())
        .increment(1);
    histogram!(names::HTTP_DURATION.name, "route" => route.to_owned()).record(took);
}

/// A pass of a relay.
pub fn relayed(pass: &Relayed) {
    for (outcome, notices) in [("confirmed", pass.published), ("unconfirmed", pass.unconfirmed)] {
        if notices > 0 {
            counter!(names::RELAYED.name, "outcome" => outcome).increment(notices as u64);
        }
    }
}

/// A job was leased of which the queue gave no notice.
pub fn unheard() {
    counter!(names::UNHEARD.name).increment(1);
}

/// A pass of a rescuer.
pub fn rescued(pass: &Rescued) {
    counter!(names::EXPIRED.name).increment(pass.ended as u64);
    counter!(names::RUNG.name).increment(pass.rung as u64);
}

/// Jobs that a worker may hold.
#[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub fn slots(slots: usize) {
    gauge!(names::WORKER_SLOTS.name).set(slots as f64);
}

/// A worker takes no more jobs.
pub fn draining() {
    gauge!(names::WORKER_DRAINING.name).set(1.0);
}

/// A job was leased, so long after it became available where the store said so.
pub fn leased(waited: Option<Duration>) {
    gauge!(names::WORKER_JOBS.name).increment(1.0);
    if let Some(waited) = waited {
        histogram!(names::DELIVERY_DELAY.name).record(waited);
    }
}

/// An attempt is over, whatever came of it.
pub fn attempt_over(took: Duration) {
    gauge!(names::WORKER_JOBS.name).decrement(1.0);
    histogram!(names::ATTEMPT_DURATION.name).record(took);
}

/// An attempt was settled.
pub fn settled(state: JobState) {
    counter!(names::SETTLED.name, "state" => state.as_str()).increment(1);
}

/// An attempt completed a recording of this length.
pub fn completed(audio: Duration, took: Duration) {
    // Counters hold whole numbers, so the part of a second is kept here.
    static AUDIO_MS: AtomicU64 = AtomicU64::new(0);
    let audio_ms = crate::clock::millis(audio);
    let all_ms = AUDIO_MS.fetch_add(audio_ms, Ordering::Relaxed) + audio_ms;
    counter!(names::AUDIO_DONE.name).absolute(all_ms / 1000);
    if !audio.is_zero() {
        histogram!(names::REALTIME_RATIO.name).record(took.as_secs_f64() / audio.as_secs_f64());
    }
}

/// An attempt failed.
pub fn failed(code: FailureCode) {
    counter!(names::FAILURES.name, "code" => code.as_str()).increment(1);
}

/// An attempt's lease was lost.
pub fn lease_lost() {
    counter!(names::LOST_LEASES.name).increment(1);
}

/// A stage is over.
pub fn stage(stage: Stage, took: Duration) {
    histogram!(names::STAGE_DURATION.name, "stage" => stage.as_str()).record(took);
}

/// A heartbeat was not taken.
pub fn heartbeat_failed() {
    counter!(names::HEARTBEAT_FAILURES.name).increment(1);
}

/// Spans were sent, refused or dropped.
pub fn spans(outcome: &'static str, spans: usize) {
    counter!(names::SPANS.name, "outcome" => outcome).increment(spans as u64);
}

#[cfg(test)]
mod tests {
    use super::super::lint;
    use super::*;

    /// The only test of this crate that may start the recorder, which is one a process.
    #[test]
    fn the_whole_page_is_conventional_and_begins_at_zero() {
        start(Role::Worker);
        start(Role::Worker);
        let text = page(Exposition::default());
        assert_eq!(lint::problems(&text), [""; 0], "{text}");
        assert!(text.contains("\nrollcall_failures_total{code=\"timeout\"} 0\n"), "{text}");
        assert!(text.contains("\nrollcall_expired_leases_total 0\n"), "{text}");

        http_request("/v1/jobs/{id}", 200, Duration::from_millis(3));
        relayed(&Relayed { published: 2, unconfirmed: 1, error: None });
        unheard();
        rescued(&Rescued { ended: 1, rung: 2, ..Rescued::default() });
        slots(4);
        leased(Some(Duration::from_millis(20)));
        leased(None);
        attempt_over(Duration::from_secs(2));
        settled(JobState::Completed);
        completed(Duration::from_secs(100), Duration::from_secs(2));
        failed(FailureCode::Timeout);
        lease_lost();
        stage(Stage::Clustering, Duration::from_millis(30));
        heartbeat_failed();
        spans("dropped", 3);
        draining();
        let text = page(Exposition::default());
        assert_eq!(lint::problems(&text), [""; 0], "{text}");
        for line in [
            "rollcall_http_requests_total{route=\"/v1/jobs/{id}\",status=\"200\"} 1",
            "rollcall_http_request_duration_seconds_bucket{route=\"/v1/jobs/{id}\",le=\"0.005\"} 1",
            "rollcall_relayed_notices_total{outcome=\"confirmed\"} 2",
            "rollcall_unheard_jobs_total 1",
            "rollcall_expired_leases_total 1",
            "rollcall_worker_slots 4",
            "rollcall_worker_jobs 1",
            "rollcall_delivery_delay_seconds_bucket{le=\"0.025\"} 1",
            "rollcall_delivery_delay_seconds_count 1",
            "rollcall_attempt_duration_seconds_sum 2",
            "rollcall_settled_jobs_total{state=\"completed\"} 1",
            "rollcall_completed_audio_seconds_total 100",
            "rollcall_realtime_ratio_bucket{le=\"0.02\"} 1",
            "rollcall_failures_total{code=\"timeout\"} 1",
            "rollcall_lost_leases_total 1",
            "rollcall_stage_duration_seconds_count{stage=\"clustering\"} 1",
            "rollcall_heartbeat_failures_total 1",
            "rollcall_spans_total{outcome=\"dropped\"} 3",
            "rollcall_worker_draining 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
    }
}
