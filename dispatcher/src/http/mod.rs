//! HTTP. So far it answers `GET /healthz` only; the API has its routes here.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use common::telemetry::exposition;

/// Every route.
pub fn router() -> Router {
    Router::new().route("/healthz", get(healthz))
}

/// `GET /metrics` with the page that `scrape` gives.
pub fn metrics<F, P>(scrape: F) -> Router
where
    F: Fn() -> P + Clone + Send + Sync + 'static,
    P: Future<Output = String> + Send,
{
    let page = move || async move { ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], scrape().await) };
    Router::new().route("/metrics", get(page))
}

/// The process lives and answers. Says nothing about the services that it needs.
async fn healthz() -> &'static str {
    "ok\n"
}
