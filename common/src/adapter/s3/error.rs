//! What the client library's errors mean for the caller.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::port::object_store::StoreError;

/// Longest text that is taken from a store's answer.
const DETAIL_CHARS_MAX: usize = 300;
/// A store that asks for a longer pause is answered with the error instead.
const RETRY_AFTER_S_MAX: u64 = 3600;

/// A request that cannot succeed as it is.
pub(super) fn rejected(shown: &str, detail: String) -> StoreError {
    StoreError::Rejected { key: shown.to_owned(), detail }
}

/// A failure that may pass.
pub(super) fn unavailable(shown: &str, detail: String) -> StoreError {
    StoreError::Unavailable { key: shown.to_owned(), detail, retry_after: None }
}

/// An error of one request, by what the caller can do. `shown` is the object's address.
pub(super) fn classify<E>(shown: &str, error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let response = service.raw();
            let code = service.err().code().unwrap_or_default();
            let message = service.err().message().unwrap_or_default();
            let header = |name| response.headers().get(name);
            let answer = Answer { status: response.status().as_u16(), code, message };
            answer.class(shown, header("retry-after").and_then(retry_after))
        }
        // What is asked from an instance's metadata or a token service when there is no key in sight.
        other if chain(other).contains("credentials") => StoreError::Forbidden {
            key: shown.to_owned(),
            detail: format!("no credentials: {}", chain(other)),
        },
        SdkError::ConstructionFailure(_) => rejected(shown, chain(error)),
        SdkError::DispatchFailure(failure) if failure.is_user() => rejected(shown, chain(error)),
        other => unavailable(shown, chain(other)),
    }
}

/// What a store answered.
#[derive(Debug, Clone, Copy)]
struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
}

impl Answer<'_> {
    fn class(self, shown: &str, retry_after: Option<Duration>) -> StoreError {
        let key = shown.to_owned();
        let detail = self.detail();
        match (self.status, self.code) {
            (_, "NoSuchBucket") => {
                // The bucket is what is missing: name it instead of the key.
                let bucket = shown.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
                StoreError::NotFound { key: bucket }
            }
            // Clocks can be set, tokens renewed, and damaged bodies sent again.
            (_, "RequestTimeTooSkewed" | "ExpiredToken" | "RequestTimeout" | "RequestExpired")
            | (400, "BadDigest" | "InvalidDigest" | "IncompleteBody" | "XAmzContentChecksumMismatch")
            | (
                _,
                "SlowDown"
                | "Throttling"
                | "ThrottlingException"
                | "OperationAborted"
                | "ConditionalRequestConflict",
            )
            | (408 | 425 | 429 | 500..=599, _) => StoreError::Unavailable { key, detail, retry_after },
            (404, _) => StoreError::NotFound { key },
            (401 | 403, _) => StoreError::Forbidden { key, detail },
            (412, _) => StoreError::PreconditionFailed { key },
            _ => StoreError::Rejected { key, detail },
        }
    }

    fn detail(self) -> String {
        let text = match (self.code, self.message) {
            ("", "") => format!("HTTP {}", self.status),
            (code, "") => format!("{code} (HTTP {})", self.status),
            (code, message) => format!("{code}: {message} (HTTP {})", self.status),
        };
        cut(&text)
    }
}

fn retry_after(header: &str) -> Option<Duration> {
    // The other form, a date, needs a clock that agrees with the store's.
    header.trim().parse().ok().map(|seconds: u64| Duration::from_secs(seconds.min(RETRY_AFTER_S_MAX)))
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let part = next.to_string();
        // Some wrappers repeat what they wrap.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = next.source();
    }
    cut(&text)
}

fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: u16, code: &str) -> StoreError {
        Answer { status, code, message: "m" }.class("s3://bucket/a/b", Some(Duration::from_secs(7)))
    }

    #[test]
    fn answers_are_told_apart() {
        let key = "s3://bucket/a/b".to_owned();
        assert_eq!(class(404, "NoSuchKey"), StoreError::NotFound { key: key.clone() });
        assert_eq!(class(404, ""), StoreError::NotFound { key: key.clone() });
        assert_eq!(class(404, "NoSuchBucket"), StoreError::NotFound { key: "s3://bucket".to_owned() });
        assert_eq!(class(412, "PreconditionFailed"), StoreError::PreconditionFailed { key });
        assert!(matches!(class(403, "AccessDenied"), StoreError::Forbidden { .. }));
        assert!(matches!(class(416, "InvalidRange"), StoreError::Rejected { .. }));
        assert!(matches!(class(400, "InvalidRequest"), StoreError::Rejected { .. }));
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, ""),
            (403, "RequestTimeTooSkewed"),
            (400, "RequestTimeout"),
            (400, "BadDigest"),
            (409, "ConditionalRequestConflict"),
        ] {
            let error = class(status, code);
            let StoreError::Unavailable { retry_after, .. } = error else {
                panic!("{status} {code}: {error}")
            };
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }

    #[test]
    fn pauses_are_bounded_and_text_is_cut() {
        assert_eq!(retry_after(" 5 "), Some(Duration::from_secs(5)));
        assert_eq!(retry_after("99999999"), Some(Duration::from_secs(RETRY_AFTER_S_MAX)));
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(cut(&"x\n".repeat(400)).chars().count(), DETAIL_CHARS_MAX);
    }
}
