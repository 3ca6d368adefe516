//! One suite per port. Every adapter passes all of it.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

pub mod broker;
pub mod object_store;
