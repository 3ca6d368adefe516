//! A job's documents, in any format.
#![allow(unused_qualifications, reason = "the description of a query is written by a macro")]

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use common::job::spec::DocumentFormat;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{etag, has_it};
use crate::command::result::{completed, document, tag};
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;

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
    (status = 409, description = "It has no result, or none yet", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 410, description = "Its result is gone", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, description = "No such format", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn result(
    State(service): State<Service>,
    Path(id): Path<String>,
    query: Result<Query<ResultQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::malformed(error.body_text()))?;
    let word = query.format.as_deref().unwrap_or("json");
    let known = || DocumentFormat::ALL.map(DocumentFormat::as_str).join(", ");
    let format = DocumentFormat::parse(word)
        .ok_or_else(|| Problem::invalid(format!("`format` is one of {}", known())))?;
    let job = id.parse().map_err(|_| Problem::unknown_job(&id))?;
    let record = completed(&service.jobs, job).await?;
    let tag = tag(&record, format).unwrap_or_default();
    // Whoever keeps it asks whether it is still that.
    let cached = (CACHE_CONTROL, "private, no-cache".to_owned());
    if has_it(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [etag(&tag), cached]).into_response());
    }
    let bytes = document(&service.objects, &record, format).await?;
    let headers = [
        etag(&tag),
        cached,
        (CONTENT_TYPE, media_type(format).to_owned()),
        (CONTENT_DISPOSITION, format!("inline; filename=\"{job}.{}\"", format.as_str())),
        // The page holds what others said and named: it runs on its own, without this site's rights.
        (CONTENT_SECURITY_POLICY, "sandbox allow-scripts".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}
