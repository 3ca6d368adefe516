//! The body of a message: "this job may be ready", nothing more.
//!
//! A notice that is lost, repeated or late delays a job and can do nothing else, so it carries nothing that could be
//! believed instead of the record.

use serde::{Deserialize, Serialize};

use super::id::{JobId, JobIdError};
use super::lane::{Lane, LaneError};

/// The version this code writes and reads.
pub const VERSION: u32 = 1;
/// Longest body that is parsed, bytes.
pub const BYTES_MAX: usize = 512;

/// A bell for one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobNotice {
    /// The job that may be ready.
    pub job: JobId,
    /// The lane it waits in.
    pub lane: Lane,
}

/// A body that is no notice: acknowledge it and go on, since no job depends on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// Longer than a notice can be.
    #[error("a notice has at most {BYTES_MAX} bytes: {bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not the JSON object it should be.
    #[error("a notice is an object of `v`, `job` and `lane`: {detail}")]
    Malformed {
        /// What the parser says.
        detail: String,
    },
    /// Written by another version.
    #[error("notices of version {VERSION} are read: {version}")]
    Version {
        /// The one found.
        version: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    job: String,
    lane: String,
}

impl JobNotice {
    /// The message body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format!(r#"{{"v":{VERSION},"job":"{}","lane":"{}"}}"#, self.job, self.lane).into_bytes()
    }

    /// Reads a message body. Unknown keys are passed over, so that a later version may add some.
    ///
    /// # Errors
    /// When the body is no notice of a version known here.
    pub fn from_bytes(body: &[u8]) -> Result<Self, NoticeError> {
        if body.len() > BYTES_MAX {
            return Err(NoticeError::TooLong { bytes: body.len() });
        }
        let malformed = |detail: String| NoticeError::Malformed { detail };
        let wire: Wire = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        if wire.v != VERSION {
            return Err(NoticeError::Version { version: wire.v });
        }
        let job = wire.job.parse().map_err(|error: JobIdError| malformed(error.to_string()))?;
        let lane = wire.lane.parse().map_err(|error: LaneError| malformed(error.to_string()))?;
        Ok(Self { job, lane })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn notice() -> JobNotice {
        JobNotice { job: JobId::new(Timestamp::from_millis(1), [1; 16]), lane: Lane::High }
    }

    #[test]
    fn a_notice_survives_its_body() {
        let body = notice().to_bytes();
        assert_eq!(JobNotice::from_bytes(&body), Ok(notice()));
        assert!(String::from_utf8(body).unwrap().ends_with(r#""lane":"high"}"#));
    }

    #[test]
    fn other_bodies_are_refused() {
        let good = String::from_utf8(notice().to_bytes()).unwrap();
        let version = good.replace("\"v\":1", "\"v\":2");
        assert_eq!(JobNotice::from_bytes(version.as_bytes()), Err(NoticeError::Version { version: 2 }));
        for body in ["", "{}", "[]", &good[1..], &good.replace("high", "urgent"), &good.replace('-', "")] {
            let read = JobNotice::from_bytes(body.as_bytes());
            assert!(matches!(read, Err(NoticeError::Malformed { .. })), "{body}");
        }
        let mut longest = good.into_bytes();
        longest.resize(BYTES_MAX, b' ');
        assert!(JobNotice::from_bytes(&longest).is_ok());
        longest.push(b' ');
        assert_eq!(JobNotice::from_bytes(&longest), Err(NoticeError::TooLong { bytes: BYTES_MAX + 1 }));
    }
}
