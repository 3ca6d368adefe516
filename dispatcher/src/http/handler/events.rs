//! A job's progress as server-sent events: a `record` at each change, an `end` when nothing more will happen.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use common::job::record::JobRecord;
use common::port::job_store::JobStore as _;
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::sleep;

use super::record;
use crate::command::jobs::is_over;
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;
use crate::wire::record::RecordDocument;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often silence is broken, so that whoever stands between does not end the connection.
const ALIVE: Duration = Duration::from_secs(15);

/// What the next step of a stream is.
enum Next {
    /// Tell this record.
    Tell(Box<JobRecord>),
    /// Wait for a change of it.
    Wait(Box<JobRecord>),
    /// Tell that it is over.
    End,
    /// Nothing more.
    Closed,
}

/// The progress of a job: an event `record` with its record at each change, then an event `end`.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs", params(("id" = String, Path, description = "The job")), responses(
    (status = 200, description = "Server-sent events `record` and `end`", content_type = "text/event-stream", body = serde_json::Value),
    (status = 404, description = "No such job", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 503, description = "Too many streams", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn events(State(service): State<Service>, Path(id): Path<String>) -> Result<Response, Problem> {
    let first = record(&service, &id).await?;
    let slot = slot(&service)?;
    let steps = stream::unfold((service, Next::Tell(Box::new(first)), slot), |(service, next, slot)| async {
        let (event, next) = step(&service, next).await?;
        Some((Ok::<_, Infallible>(event), (service, next, slot)))
    });
    Ok(Sse::new(steps).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// A place for one more stream.
pub fn slot(service: &Service) -> Result<OwnedSemaphorePermit, Problem> {
    let busy =
        |_| Problem::busy(StatusCode::SERVICE_UNAVAILABLE, "too many event streams", Duration::from_secs(5));
    service.streams.clone().try_acquire_owned().map_err(busy)
}

/// The next event, and what follows it; `None` ends the stream.
async fn step(service: &Service, mut next: Next) -> Option<(Event, Next)> {
    loop {
        match next {
            Next::Tell(record) => {
                let text = serde_json::to_string(&RecordDocument::new(&record))
                    .expect("texts and numbers always have a JSON form");
                let then = if is_over(&record) { Next::End } else { Next::Wait(record) };
                return Some((Event::default().event("record").data(text), then));
            }
            Next::End => return Some((Event::default().event("end").data("{}"), Next::Closed)),
            Next::Closed => return None,
            Next::Wait(last) => {
                tokio::select! {
                    () = sleep(LOOK) => {}
                    () = service.stop.cancelled() => return None,
                }
                next = match service.jobs.get(last.id).await {
                    Ok(Some(record)) if record != *last => Next::Tell(Box::new(record)),
                    // It was forgotten.
                    Ok(None) => Next::End,
                    // Nothing new, or the job store is away for a while.
                    Ok(Some(_)) | Err(_) => Next::Wait(last),
                };
            }
        }
    }
}
