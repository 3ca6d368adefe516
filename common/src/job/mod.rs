//! What a job is: options, failures.

pub mod failure;
pub mod lane;
