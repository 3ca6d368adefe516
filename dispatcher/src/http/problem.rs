//! What fails, as `application/problem+json` (RFC 9457): a status, a stable code, a sentence.

use std::error::Error;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::job::id::JobId;
use common::port::job_store::JobStoreError;
use common::port::object_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::error::FleetError;
use crate::submit::error::SubmitError;
use crate::wire::request::RequestError;

/// The code of what is to be asked again later.
const BUSY: &str = "busy";
/// What is said of a service that does not answer: its address is nobody's business out there.
const AWAY: &str = "a service that is needed does not answer";

/// What an event `problem` says while the job store is away: code and sentence of the problem that a request would get.
#[must_use]
pub fn away() -> String {
    serde_json::json!({ "code": BUSY, "detail": AWAY }).to_string()
}

/// A problem as a document.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// `urn:rollcall:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// A stable word for what is wrong.
    code: &'static str,
    /// A sentence for a person, with the values that matter.
    detail: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    again_in: Option<Duration>,
}

impl Problem {
    /// A problem.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), again_in: None }
    }

    /// The request makes no sense.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request makes sense, but not with these values.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// Nobody says who asks, or not truly.
    pub fn unauthorized(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// Whoever asks may not.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_allowed", detail)
    }

    /// There is no such job.
    pub fn unknown_job(text: &str) -> Self {
        let text: String = text.chars().take(64).collect();
        Self::new(StatusCode::NOT_FOUND, "unknown_job", format!("no such job: `{text}`"))
    }

    /// Too many at once; to be asked again after this time.
    pub fn busy(status: StatusCode, detail: impl Into<String>, again_in: Duration) -> Self {
        Self { again_in: Some(again_in), ..Self::new(status, BUSY, detail) }
    }

    /// The body was too slow, or broke off.
    pub fn body(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::TimedOut)
            {
                return Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", error.to_string());
            }
            if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() {
                return Self::too_large("the body is too large");
            }
            cause = error.source();
        }
        Self::malformed(format!("the body cannot be read: {error}"))
    }

    /// More bytes than are taken.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// The store, or the machine, has no room or time for more just now.
    pub fn crowded(detail: &'static str) -> Self {
        Self::busy(StatusCode::SERVICE_UNAVAILABLE, detail, Duration::from_secs(5))
    }

    /// What an error of the object store means for whoever uploads or reads.
    pub fn of_store(error: StoreError) -> Self {
        FleetError::of_store(error).into()
    }
}

/// An error with what caused it.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<FleetError> for Problem {
    fn from(error: FleetError) -> Self {
        match &error {
            FleetError::UnknownJobs { jobs } => {
                Self::unknown_job(&jobs.first().map(JobId::to_string).unwrap_or_default())
            }
            FleetError::NoResult { .. } | FleetError::NoDocument { .. } => {
                Self::new(StatusCode::CONFLICT, "no_result", whole(&error))
            }
            // It was there, and its time is over.
            FleetError::Result { source: StoreError::NotFound { .. }, .. } => {
                Self::new(StatusCode::GONE, "result_gone", whole(&error))
            }
            FleetError::Unreachable { source, .. } | FleetError::Refused { source, .. } => {
                tracing::warn!(error = %error, cause = %source, "a service fails a request");
                Self::busy(StatusCode::SERVICE_UNAVAILABLE, AWAY, Duration::from_secs(2))
            }
            _ => {
                tracing::error!(error = whole(&error), "a request fails");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "this is a defect; the log says more",
                )
            }
        }
    }
}

impl From<JobStoreError> for Problem {
    fn from(error: JobStoreError) -> Self {
        FleetError::from(error).into()
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Json(_) => Self::malformed(error.to_string()),
            _ => Self::invalid(error.to_string()),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let (status, code) = match error {
            SubmitError::Fleet(error) => return error.into(),
            SubmitError::NotAllowed { .. }
            | SubmitError::Reserved { .. }
            | SubmitError::Callback { .. }
            | SubmitError::OutputOfFolder { .. } => (StatusCode::FORBIDDEN, "not_allowed"),
            SubmitError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "audio_too_long"),
            SubmitError::Missing { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "source_missing"),
            SubmitError::Forbidden { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "source_forbidden"),
            SubmitError::UnknownBundle { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_bundle"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        };
        Self::new(status, code, whole(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: format!("urn:rollcall:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
        };
        let mut response = (self.status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rollcall\""));
        }
        if let Some(wait) = self.again_in {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}
