//! The routes' own code: a request's parts in, a document or a problem out.

pub mod audio;
pub mod events;
pub mod fleet;
pub mod jobs;
pub mod result;
pub mod submit;

use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::header::{ETAG, HeaderName, IF_NONE_MATCH};
use axum::http::request::Parts;
use common::job::id::JobId;
use common::job::record::JobRecord;
use common::port::job_store::JobStore as _;

use super::problem::Problem;
use super::service::Service;

/// The job that a path names, as it stands there.
pub struct JobText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for JobText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        // What is no text names no job.
        path.map(|Path(text)| Self(text)).map_err(|_| Problem::unknown_job(parts.uri.path()))
    }
}

/// The record of the job of that text.
async fn record(service: &Service, text: &str) -> Result<JobRecord, Problem> {
    let job: JobId = text.parse().map_err(|_| Problem::unknown_job(text))?;
    service.jobs.get(job).await?.ok_or_else(|| Problem::unknown_job(text))
}

/// Whether whoever asks has this version already.
pub(super) fn has_it(headers: &HeaderMap, tag: &str) -> bool {
    let Some(given) = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    let same = |one: &str| one.trim_start_matches("W/").trim_matches('"') == tag;
    given.split(',').map(str::trim).filter(|one| !one.is_empty()).any(|one| one == "*" || same(one))
}

/// The header that names a version.
pub(super) fn etag(tag: &str) -> (HeaderName, String) {
    (ETAG, format!("\"{tag}\""))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn versions_are_compared_weakly() {
        let headers =
            |text: &'static str| HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(text))]);
        for text in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(has_it(&headers(text), "a"), "{text}");
        }
        for text in ["", "\"b\"", "\"aa\""] {
            assert!(!has_it(&headers(text), "a"), "{text}");
        }
        assert!(!has_it(&HeaderMap::new(), "a"));
        assert!(
            !has_it(&HeaderMap::new(), "") && !has_it(&headers(""), ""),
            "nobody asked about any version"
        );
    }
}
