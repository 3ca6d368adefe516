//! What a job is: options, failures.

pub mod failure;
