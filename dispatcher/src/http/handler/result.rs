//! A job's documents, in any format.
#![allow(unused_qualifications, reason = "the description of a query is written by a macro")]

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use common::job::id::JobId;
use common::job::record::JobRecord;
use common::job::spec::DocumentFormat;
use common::port::object_store::{ByteRange, ObjectStore as _};
use common::speech::render;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::audio::streamed;
use super::{JobText, etag, has_it};
use crate::command::error::FleetError;
use crate::command::result::{Origin, completed, origin, tag, unread, written};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;

/// Longest wait for a turn at rendering.
const RENDER_WAIT: Duration = Duration::from_secs(5);

/// Which document.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ResultQuery {
    /// `json` (the default), `rttm`, `srt`, `vtt`, `html` or `txt`.
    format: Option<String>,
}

const fn media_type(format: DocumentFormat) -> &'static str {
    match format {
        DocumentFormat::Json => "application/json",
        DocumentFormat::Srt => "application/x-subrip; charset=utf-8",
        DocumentFormat::Vtt => "text/vtt; charset=utf-8",
        DocumentFormat::Html => "text/html; charset=utf-8",
        DocumentFormat::Rttm | DocumentFormat::Txt => "text/plain; charset=utf-8",
    }
}

/// The result of a completed job, from what was stored: never by running again.
#[utoipa::path(get, path = "/v1/jobs/{id}/result", tag = "jobs",
    params(("id" = String, Path, description = "The job"), ResultQuery), responses(
    (status = 200, description = "The document", content(
        (serde_json::Value = "application/json"), (String = "text/plain"), (String = "application/x-subrip"),
        (String = "text/vtt"), (String = "text/html"))),
    (status = 304, description = "As the `ETag` that was given"),
    (status = 400, description = "A query of another shape", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 404, description = "No such job", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "It has no such result, or none yet", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 410, description = "Its result is gone", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, description = "No such format", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn result(
    State(service): State<Service>,
    JobText(id): JobText,
    query: Result<Query<ResultQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::malformed(error.body_text()))?;
    let word = query.format.as_deref().unwrap_or("json");
    let known = || DocumentFormat::ALL.map(DocumentFormat::as_str).join(", ");
    let format = DocumentFormat::parse(word)
        .ok_or_else(|| Problem::invalid(format!("`format` is one of {}", known())))?;
    let job: JobId = id.parse().map_err(|_| Problem::unknown_job(&id))?;
    let record = completed(&service.jobs, job).await?;
    let origin = origin(&record, format)?;
    let tag = tag(&record, format).ok_or(FleetError::NoDocument { job })?;
    // Whoever keeps it asks whether it is still that.
    let cached = (CACHE_CONTROL, "private, no-cache".to_owned());
    if has_it(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [etag(&tag), cached]).into_response());
    }
    let (body, bytes) = match origin {
        Origin::Stored(key) => stored(&service, job, &key).await?,
        Origin::Rendered(key) => {
            let bytes = rendered(&service, record, &key, format).await?;
            let length = bytes.len() as u64;
            (Body::from(bytes), length)
        }
    };
    let headers = [
        etag(&tag),
        cached,
        (CONTENT_TYPE, media_type(format).to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
        (CONTENT_DISPOSITION, format!("inline; filename=\"{job}.{}\"", format.as_str())),
        // The page holds what others said and named: it runs on its own, without this site's rights.
        (CONTENT_SECURITY_POLICY, "sandbox allow-scripts".to_owned()),
    ];
    Ok((headers, body).into_response())
}

/// A document as it is stored, on its way as it comes, and its length.
async fn stored(service: &Service, job: JobId, key: &str) -> Result<(Body, u64), Problem> {
    let object = service.objects.get(key, ByteRange::ALL).await.map_err(|error| unread(job, error))?;
    Ok((streamed(object.body), object.info.bytes))
}

/// A document that is made here: few at a time, since each is held whole, and where it does not hold up other requests.
async fn rendered(
    service: &Service,
    record: JobRecord,
    key: &str,
    format: DocumentFormat,
) -> Result<Bytes, Problem> {
    let slot = timeout(RENDER_WAIT, service.renders.acquire()).await;
    let Ok(Ok(_slot)) = slot else { return Err(Problem::crowded("too many documents are being rendered")) };
    let source = service.objects.read(key, render::json::BYTES_MAX as u64).await;
    let source = source.map_err(|error| unread(record.id, error))?;
    let written = tokio::task::spawn_blocking(move || written(&record, &source, format)).await;
    let defect = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this is a defect");
    Ok(written.map_err(defect)??)
}
