//! Around each request: an id that the answer and the log share, headers that keep browsers careful, one line in the log.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use common::random::{OsRandom, Random as _};
use common::telemetry::metrics;
use tracing::Instrument as _;

/// Carries the id of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from whoever asks.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// The layer.
pub async fn tell(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    // The query may hold anything; the path as it came is visible ASCII.
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let span = tracing::info_span!("http", request = id, %method, path = shown(&path));
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), began.elapsed());
    let route = route.as_deref().unwrap_or("none");
    metrics::http_request(route, status.as_u16(), took);
    span.in_scope(|| {
        let ms = took.as_secs_f64() * 1e3;
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), route, ms, "answered");
        } else {
            tracing::debug!(status = status.as_u16(), route, ms, "answered");
        }
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    careful(headers);
    response
}

/// What a browser must not do with an answer, unless the handler said otherwise.
fn careful(headers: &mut HeaderMap) {
    let defaults = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The id that whoever asks gave, when it is a short plain word, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let plain = |text: &&str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal)
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    given.map_or_else(
        || OsRandom.bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
        str::to_owned,
    )
}

/// A path cut to what a log line bears.
fn shown(path: &str) -> &str {
    path.get(..256).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_become_ids() {
        let given = |text: &'static str| HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(text))]);
        assert_eq!(request_id(&given("abc-1.2_Z")), "abc-1.2_Z");
        for text in ["", "a b", "a\"b", "a{b}"] {
            assert_eq!(request_id(&given(text)).len(), 16, "{text}");
        }
        let long = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(&"a".repeat(65)).unwrap())]);
        assert_eq!(request_id(&long).len(), 16);
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
