//! A job's progress as server-sent events: a `record` at each change, an `end` when nothing more will happen.
//!
//! Invariant: a stream without an end is one whose time is up: whoever reads on asks again, and is looked at again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use common::job::record::JobRecord;
use common::port::job_store::{JobStore, StoreResult};
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{JobText, record};
use crate::http::problem::{Problem, ProblemDocument, away};
use crate::http::service::Service;
use crate::wire::record::RecordDocument;

/// After this time a stream ends and whoever reads it asks again: so long a key that was revoked may still read.
pub const STREAM_LASTS: Duration = Duration::from_secs(300);
/// How often silence is broken, so that whoever stands between does not end the connection.
pub const ALIVE: Duration = Duration::from_secs(15);
/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What the next step of a stream is.
#[derive(Debug)]
enum Next {
    /// Tell this record.
    Tell(Box<JobRecord>),
    /// Tell that the job store does not answer; the record is the last one that was told.
    TellAway(Box<JobRecord>),
    /// Wait for a change of it.
    Wait(Box<JobRecord>),
    /// Wait until the job store answers again.
    WaitAway(Box<JobRecord>),
    /// Tell that it is over.
    End,
    /// Nothing more.
    Closed,
}

/// The progress of a job: an event `record` with its record at each change, then an event `end`. `problem` says that the
/// job store does not answer; the `record` after it, changed or not, says that it does again. A stream ends after five
/// minutes, without `end`: ask again.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs", params(("id" = String, Path, description = "The job")), responses(
    (status = 200, description = "Server-sent events `record`, `problem` and `end`", content_type = "text/event-stream", body = serde_json::Value),
    (status = 404, description = "No such job", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, description = "Too many streams", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn events(State(service): State<Service>, JobText(id): JobText) -> Result<Response, Problem> {
    let first = record(&service, &id).await?;
    let slot = slot(&service)?;
    let until = Instant::now() + STREAM_LASTS;
    let start = (service, Next::Tell(Box::new(first)), slot);
    let steps = stream::unfold(start, move |(service, next, slot)| async move {
        let ((name, text), next) = step(&service.jobs, &service.stop, until, next).await?;
        Some((Ok::<_, Infallible>(Event::default().event(name).data(text)), (service, next, slot)))
    });
    Ok(Sse::new(steps).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// A place for one more stream.
pub fn slot(service: &Service) -> Result<OwnedSemaphorePermit, Problem> {
    let busy =
        |_| Problem::busy(StatusCode::SERVICE_UNAVAILABLE, "too many event streams", Duration::from_secs(5));
    service.streams.clone().try_acquire_owned().map_err(busy)
}

/// The next event, its name and its data, and what follows it; `None` ends the stream.
async fn step(
    jobs: &impl JobStore,
    stop: &CancellationToken,
    until: Instant,
    mut next: Next,
) -> Option<((&'static str, String), Next)> {
    loop {
        let (last, told_away) = match next {
            Next::Tell(record) => {
                let text = serde_json::to_string(&RecordDocument::new(&record))
                    .expect("texts and numbers always have a JSON form");
                let then = if record.is_over() { Next::End } else { Next::Wait(record) };
                return Some((("record", text), then));
            }
            Next::TellAway(last) => return Some((("problem", away()), Next::WaitAway(last))),
            Next::End => return Some((("end", "{}".to_owned()), Next::Closed)),
            Next::Closed => return None,
            Next::Wait(last) => (last, false),
            Next::WaitAway(last) => (last, true),
        };
        tokio::select! {
            () = sleep(LOOK) => {}
            () = sleep_until(until) => return None,
            () = stop.cancelled() => return None,
        }
        next = after(jobs.get(last.id).await, last, told_away);
    }
}

/// What follows a look, by the record that was told last and whether the job store was told to be away since.
fn after(look: StoreResult<Option<JobRecord>>, last: Box<JobRecord>, told_away: bool) -> Next {
    match look {
        Ok(Some(record)) if told_away || record != *last => Next::Tell(Box::new(record)),
        Ok(Some(_)) => Next::Wait(last),
        // It was forgotten.
        Ok(None) => Next::End,
        Err(_) if told_away => Next::WaitAway(last),
        Err(error) => {
            tracing::debug!(job = %last.id, %error, "the job store fails a look at a job");
            Next::TellAway(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::adapter::memory::job_store::MemoryJobStore;
    use common::clock::{ManualClock, Timestamp};
    use common::job::id::JobId;
    use common::job::record::JobState;
    use common::job::spec::{JobSpec, SourceRef};
    use common::port::job_store::{JobStoreError, NewJob, StoreRules};

    use super::*;

    fn record(state: JobState) -> Box<JobRecord> {
        let id = JobId::new(Timestamp::from_millis(1), [0; 16]);
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a"));
        let record = JobRecord::accepted(id, spec, Duration::ZERO, Timestamp::from_millis(1));
        Box::new(JobRecord { state, ..record })
    }

    fn failed() -> StoreResult<Option<JobRecord>> {
        Err(JobStoreError::Unavailable { endpoint: String::new(), detail: String::new() })
    }

    #[test]
    fn an_outage_is_told_once_and_its_end_by_the_record() {
        let last = || record(JobState::Available);
        let found = |record: Box<JobRecord>| Ok(Some(*record));
        assert!(matches!(after(failed(), last(), false), Next::TellAway(_)));
        assert!(matches!(after(failed(), last(), true), Next::WaitAway(_)));
        assert!(matches!(after(found(last()), last(), true), Next::Tell(_)), "unchanged, and there again");
        assert!(matches!(after(found(last()), last(), false), Next::Wait(_)));
        assert!(matches!(after(found(record(JobState::Running)), last(), false), Next::Tell(_)));
        assert!(matches!(after(Ok(None), last(), true), Next::End), "forgotten");
    }

    #[tokio::test]
    async fn each_step_tells_or_ends() {
        let jobs = MemoryJobStore::new(
            Arc::new(ManualClock::starting_at(Timestamp::from_millis(1))),
            StoreRules::default(),
        );
        let known = record(JobState::Available);
        jobs.insert(NewJob::new(known.id, known.spec.clone())).await.unwrap();
        let (stop, long) = (CancellationToken::new(), Instant::now() + STREAM_LASTS);
        let told = async |next| step(&jobs, &stop, long, next).await.unwrap();
        let ((name, text), next) = told(Next::TellAway(known.clone())).await;
        assert_eq!((name, text), ("problem", away()));
        let ((name, text), next) = told(next).await;
        assert!(name == "record" && text.contains("\"available\""), "{name} {text}");
        assert!(matches!(next, Next::Wait(_)));
        let ((name, _), next) = told(Next::Tell(record(JobState::Cancelled))).await;
        assert_eq!(name, "record");
        let ((name, text), next) = told(next).await;
        assert_eq!((name, text.as_str()), ("end", "{}"));
        assert!(step(&jobs, &stop, long, next).await.is_none());
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_time_is_up_or_the_service_stops() {
        let jobs = MemoryJobStore::new(
            Arc::new(ManualClock::starting_at(Timestamp::from_millis(1))),
            StoreRules::default(),
        );
        let stop = CancellationToken::new();
        let waiting = || Next::WaitAway(record(JobState::Available));
        assert!(step(&jobs, &stop, Instant::now(), waiting()).await.is_none());
        stop.cancel();
        assert!(step(&jobs, &stop, Instant::now() + STREAM_LASTS, waiting()).await.is_none());
    }
}
