//! Whether the process lives, and whether what it needs is there.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use common::clock::Monotonic;
use common::port::broker::Broker as _;
use common::port::job_store::JobStore as _;
use common::port::object_store::{ObjectStore as _, StoreError};
use common::telemetry::exposition;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::service::Service;
use crate::metrics::scrape;

/// For so long a look is good: asking often must not load the services.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// Longest wait for one service.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nothing is under this key; a store that says so is there.
const NO_KEY: &str = "readyz";

/// The last look, when it was, and the services that did not answer.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<(Monotonic, Vec<&'static str>)>>);

/// The process lives and answers. Says nothing about the services that it needs.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, description = "It lives", content_type = "text/plain", body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// The services that it needs answer.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses(
    (status = 200, description = "All services answer", content_type = "text/plain", body = String),
    (status = 503, description = "The services that do not", content_type = "text/plain", body = String),
))]
pub async fn readyz(State(service): State<Service>) -> (StatusCode, String) {
    let now = service.clock().monotonic();
    // Held while looking, so that many who ask at once make one look.
    let mut last = service.readiness.0.lock().await;
    let fresh = last.as_ref().filter(|(at, _)| now.since(*at) < GOOD_FOR);
    let away = match fresh {
        Some((_, away)) => away.clone(),
        None => {
            let away = look(&service).await;
            *last = Some((service.clock().monotonic(), away.clone()));
            away
        }
    };
    if away.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("no answer: {}\n", away.join(", ")))
}

/// The queue and this process, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses(
    (status = 200, description = "Prometheus' text format", content_type = "text/plain", body = String),
))]
pub async fn metrics(State(service): State<Service>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], scrape(&service.jobs).await)
}

async fn look(service: &Service) -> Vec<&'static str> {
    let jobs = async { matches!(timeout(PATIENCE, service.jobs.time()).await, Ok(Ok(_))) };
    let queue = async { matches!(timeout(PATIENCE, service.broker.assert_topology()).await, Ok(Ok(()))) };
    let objects = async {
        timeout(PATIENCE, service.objects.head(NO_KEY)).await.is_ok_and(|answer| has_answered(&answer))
    };
    let answered = futures::join!(jobs, queue, objects);
    let named = [(answered.0, "job store"), (answered.1, "queue"), (answered.2, "object store")];
    named.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
}

/// Whether a store that was asked for an object is there. One that forbids the look is: S3 answers a missing key with 403 where
/// listing is not allowed, and what the API may do there is no matter of being ready.
fn has_answered<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Forbidden { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_refuses_is_there_and_one_that_is_silent_is_not() {
        let (key, detail) = (NO_KEY.to_owned(), String::new());
        assert!(has_answered(&Ok(())));
        assert!(has_answered::<()>(&Err(StoreError::NotFound { key: key.clone() })));
        assert!(has_answered::<()>(&Err(StoreError::Forbidden { key: key.clone(), detail: detail.clone() })));
        assert!(!has_answered::<()>(&Err(StoreError::Unavailable { key, detail, retry_after: None })));
    }
}
