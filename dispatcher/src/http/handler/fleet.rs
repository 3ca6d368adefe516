//! The queue and the workers.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use common::port::job_store::JobStore as _;

use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;
use crate::wire::queue::QueueDocument;
use crate::wire::worker::WorkerDocument;

/// The queue in numbers.
#[utoipa::path(get, path = "/v1/queue", tag = "fleet", responses(
    (status = 200, description = "As `rollcall queue --json`", body = QueueDocument),
    (status = 503, description = "The job store does not answer", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn queue(State(service): State<Service>) -> Result<Json<QueueDocument>, Problem> {
    Ok(Json(QueueDocument::from(&service.jobs.status().await?)))
}

/// The workers alive.
#[utoipa::path(get, path = "/v1/workers", tag = "fleet", responses(
    (status = 200, description = "As `rollcall workers --json`", body = [WorkerDocument<'static>]),
    (status = 503, description = "The job store does not answer", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn workers(State(service): State<Service>) -> Result<Response, Problem> {
    let alive = service.jobs.workers().await?;
    let documents: Vec<_> = alive.iter().map(WorkerDocument::from).collect();
    Ok(Json(documents).into_response())
}
