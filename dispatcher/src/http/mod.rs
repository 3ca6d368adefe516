//! HTTP. So far it answers `GET /healthz` only; the API has its routes here.

use axum::Router;
use axum::routing::get;

/// Every route.
pub fn router() -> Router {
    Router::new().route("/healthz", get(healthz))
}

/// The process lives and answers. Says nothing about the services that it needs.
async fn healthz() -> &'static str {
    "ok\n"
}
