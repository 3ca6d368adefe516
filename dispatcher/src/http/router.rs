//! Every route, and its description.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{OpenApi, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::handler::{audio, events, fleet, jobs, result, submit};
use super::problem::{Problem, ProblemDocument};
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
    let (routes, mut description) = OpenApiRouter::with_openapi(description)
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
        .routes(routes!(health::metrics))
        .split_for_parts();
    say_refusals(&mut description);
    (routes, description)
}

/// What every route under `/v1/` may answer before its own code is reached.
fn say_refusals(description: &mut utoipa::openapi::OpenApi) {
    let shared = [
        ("401", "A key is needed, or this one is not good"),
        ("403", "The key lacks the scope, or an address may not be named"),
        ("429", "Too many requests; `Retry-After` says how long to wait"),
        ("503", "Too many at once, or a service is away; `Retry-After` says how long to wait"),
    ];
    let problem = || {
        let schema = Ref::from_schema_name(ProblemDocument::name());
        ContentBuilder::new().schema(Some(schema)).build()
    };
    let paths = description.paths.paths.iter_mut().filter(|(path, _)| path.starts_with("/v1/"));
    for operation in paths.flat_map(|(_, item)| [&mut item.get, &mut item.post, &mut item.delete]).flatten() {
        for (status, meaning) in shared {
            let response = || {
                let built = ResponseBuilder::new().description(meaning);
                built.content("application/problem+json", problem()).build().into()
            };
            operation.responses.responses.entry(status.to_owned()).or_insert_with(response);
        }
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_description_is_whole() {
        let document: Value = serde_json::from_str(&openapi()).unwrap();
        let mut routes: Vec<_> = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                routes.push(format!("{} {path}", method.to_uppercase()));
                let responses = operation["responses"].as_object().unwrap();
                assert!(!responses.is_empty() && operation["operationId"].is_string(), "{method} {path}");
                let described = operation["summary"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{method} {path}");
                for (status, response) in responses {
                    let problem = status.starts_with(['4', '5']) && path.starts_with("/v1/");
                    let body = &response["content"]["application/problem+json"];
                    assert_eq!(body.is_object(), problem, "{method} {path}: {status}");
                }
            }
        }
        routes.sort_unstable();
        let expected = [
            "DELETE /v1/jobs/{id}",
            "GET /healthz",
            "GET /metrics",
            "GET /readyz",
            "GET /v1/events",
            "GET /v1/jobs",
            "GET /v1/jobs/{id}",
            "GET /v1/jobs/{id}/audio",
            "GET /v1/jobs/{id}/events",
            "GET /v1/jobs/{id}/result",
            "GET /v1/queue",
            "GET /v1/queue/history",
            "GET /v1/workers",
            "POST /v1/jobs",
            "POST /v1/jobs/{id}/retry",
        ];
        assert_eq!(routes, expected);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 5, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
