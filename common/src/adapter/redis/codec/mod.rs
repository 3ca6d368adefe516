//! What stands in Redis, and back. Nothing that is read is believed without a check: another version may have written it.

mod digest;
mod record;
mod spec;

pub(super) use record::{Raw, read_record, write_progress, write_result};
pub(super) use spec::{read_spec, write_spec};

use crate::port::job_store::JobStoreError;

/// An entry that this version cannot read.
pub(super) fn unreadable(what: &str, value: &str) -> JobStoreError {
    JobStoreError::Unreadable { what: what.to_owned(), value: value.chars().take(200).collect() }
}
