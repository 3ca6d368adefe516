//! Jobs as records: looked at, listed, stopped, tried again.
#![allow(unused_qualifications, reason = "the description of a query is written by a macro")]

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::job::transition::{Cancel, Retried};
use common::port::job_store::{JobFilter, JobStore as _, LOOKS_MAX};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{JobText, record};
use crate::command::jobs::retry as try_again;
use crate::http::problem::{Problem, ProblemDocument};
use crate::http::service::Service;
use crate::wire::record::RecordDocument;

/// Most jobs of one page.
const PAGE_MAX: usize = 1000;
/// Jobs of a page unless said otherwise.
const PAGE: usize = 50;

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only in this state.
    state: Option<String>,
    /// Only with this tag: `KEY=VALUE`.
    tag: Option<String>,
    /// At most so many, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One page of jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageDocument<'a> {
    jobs: Vec<RecordDocument<'a>>,
    /// Give it as `cursor` for the next page; null at the end. A page that searched long for what is rare may be short, even
    /// empty, before the end.
    next_cursor: Option<String>,
}

fn filter(query: &ListQuery) -> Result<JobFilter, Problem> {
    let state = query.state.as_deref().map(|word| {
        let known = || JobState::ALL.map(JobState::as_str).join(", ");
        JobState::parse(word).ok_or_else(|| Problem::invalid(format!("`state` is one of {}", known())))
    });
    let tag = query.tag.as_deref().map(|text| {
        let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Problem::invalid("`tag` is `KEY=VALUE`"))
    });
    let before = query.cursor.as_deref().map(str::parse::<JobId>).transpose();
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("`limit` is 1 to {PAGE_MAX}")));
    }
    Ok(JobFilter {
        state: state.transpose()?,
        tag: tag.transpose()?,
        limit,
        before: before.map_err(|_| Problem::invalid("`cursor` is the `next_cursor` of a page"))?,
        looks: Some(LOOKS_MAX),
        ..JobFilter::default()
    })
}

/// Jobs, the newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(ListQuery), responses(
    (status = 200, description = "A page of jobs", body = PageDocument<'static>),
    (status = 400, description = "A query of another shape", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 422, description = "A value out of its bounds", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn list(
    State(service): State<Service>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::malformed(error.body_text()))?;
    let filter = filter(&query)?;
    let page = service.jobs.list(filter).await?;
    let jobs = page.jobs.iter().map(RecordDocument::new).collect();
    let next_cursor = page.next.map(|job| job.to_string());
    Ok(Json(PageDocument { jobs, next_cursor }).into_response())
}

fn shown(record: &JobRecord) -> Response {
    Json(RecordDocument::new(record)).into_response()
}

/// A job's record: state, stage, percent, failure, where its documents are.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "The job")), responses(
    (status = 200, description = "The record", body = RecordDocument<'static>),
    (status = 404, description = "No such job", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn get(State(service): State<Service>, JobText(id): JobText) -> Result<Response, Problem> {
    Ok(shown(&record(&service, &id).await?))
}

/// Stops a job: one that waits at once, one that runs within about two seconds.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path, description = "The job")), responses(
    (status = 200, description = "The record: cancelled, or about to be", body = RecordDocument<'static>),
    (status = 404, description = "No such job", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "It has ended", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn cancel(State(service): State<Service>, JobText(id): JobText) -> Result<Response, Problem> {
    let job = record(&service, &id).await?.id;
    match service.jobs.request_cancel(job).await? {
        None => Err(Problem::unknown_job(&id)),
        // Asking again for what was done is no error.
        Some(Cancel::Done | Cancel::Requested | Cancel::Final(JobState::Cancelled)) => {
            Ok(shown(&record(&service, &id).await?))
        }
        Some(Cancel::Final(state)) => Err(ended(state)),
    }
}

fn ended(state: JobState) -> Problem {
    Problem::new(StatusCode::CONFLICT, "wrong_state", format!("the job is {}", state.as_str()))
}

/// Tries a discarded or cancelled job again.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path, description = "The job")), responses(
    (status = 200, description = "The record: available", body = RecordDocument<'static>),
    (status = 404, description = "No such job", body = ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "It is neither discarded nor cancelled", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn retry(State(service): State<Service>, JobText(id): JobText) -> Result<Response, Problem> {
    let job = record(&service, &id).await?.id;
    let again = try_again(&service.jobs, &service.broker, &[job]).await?;
    match again.jobs.first().and_then(|changed| changed.became) {
        None => Err(Problem::unknown_job(&id)),
        // A bell that did not ring now is rung by the relay.
        Some(Retried::Done) => Ok(shown(&record(&service, &id).await?)),
        Some(Retried::Not(state)) => Err(ended(state)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(
        state: Option<&str>,
        tag: Option<&str>,
        limit: Option<usize>,
        cursor: Option<&str>,
    ) -> ListQuery {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        ListQuery { state: owned(state), tag: owned(tag), limit, cursor: owned(cursor) }
    }

    #[test]
    fn a_query_is_bounded() {
        let id = "00000000-0000-7000-8000-000000000000";
        let found = filter(&query(Some("running"), Some("a=b=c"), Some(PAGE_MAX), Some(id))).unwrap();
        assert_eq!(found.state, Some(JobState::Running));
        assert_eq!(found.tag, Some(("a".to_owned(), "b=c".to_owned())));
        assert_eq!((found.limit, found.before), (PAGE_MAX, Some(id.parse().unwrap())));
        assert_eq!(filter(&query(None, None, None, None)).unwrap().limit, PAGE);
        for wrong in [
            query(Some("done"), None, None, None),
            query(None, Some("a"), None, None),
            query(None, None, Some(0), None),
            query(None, None, Some(PAGE_MAX + 1), None),
            query(None, None, None, Some("x")),
        ] {
            assert!(filter(&wrong).is_err(), "{wrong:?}");
        }
    }
}
