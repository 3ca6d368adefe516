//! The `Date` header of an answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};

/// Remembers the date of the last answer; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<SystemTime>>>);

impl Seen {
    pub(super) fn date(&self) -> Option<SystemTime> {
        // Nothing panics while it holds the lock.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "rollcall-date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").and_then(read);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

fn read(header: &str) -> Option<SystemTime> {
    DateTime::from_str(header, DateTimeFormat::HttpDate).ok().and_then(|date| SystemTime::try_from(date).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_read() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(date));
        assert_eq!(read("yesterday"), None);
    }
}
