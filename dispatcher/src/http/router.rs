//! Every route, and its description.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::handler::{audio, events, fleet, jobs, result, submit};
use super::problem::Problem;
use super::service::Service;
use super::{access, dashboard, health, live, tell};

/// What all routes share.
#[derive(OpenApi)]
#[openapi(
    info(title = "Rollcall", description = "Who spoke when: diarization jobs over HTTP."),
    tags(
        (name = "jobs", description = "Submit, follow, read, stop"),
        (name = "fleet", description = "The queue and the workers"),
        (name = "service", description = "This process")
    ),
    security(("key" = []))
)]
struct Description;

fn described() -> (Router<Service>, utoipa::openapi::OpenApi) {
    let mut description = Description::openapi();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("rk_ID_SECRET").build();
    let components = description.components.get_or_insert_with(Default::default);
    components.add_security_scheme("key", SecurityScheme::Http(bearer));
    OpenApiRouter::with_openapi(description)
        .routes(routes!(jobs::list, submit::create))
        .routes(routes!(jobs::get, jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(events::events))
        .routes(routes!(result::result))
        .routes(routes!(audio::audio))
        .routes(routes!(fleet::queue))
        .routes(routes!(fleet::workers))
        .routes(routes!(live::events))
        .routes(routes!(live::history))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .split_for_parts()
}

/// The description of the API: OpenAPI 3.1, made from the routes themselves.
#[must_use]
pub fn openapi() -> String {
    described().1.to_pretty_json().expect("a description always has a JSON form")
}

/// Every route.
pub fn router(service: Service) -> Router {
    let (routes, description) = described();
    let description = description.to_json().expect("a description always has a JSON form");
    let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
    routes
        .merge(dashboard::routes())
        .route("/openapi.json", axum::routing::get(move || async move { (json, description) }))
        .fallback(nothing)
        .method_not_allowed_fallback(no_such_method)
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(service.clone(), access::admit))
        .layer(from_fn(tell::tell))
        .with_state(service)
}

async fn nothing() -> Problem {
    Problem::new(
        axum::http::StatusCode::NOT_FOUND,
        "no_such_route",
        "no such route; `/openapi.json` lists them",
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, "no_such_method", detail)
}
