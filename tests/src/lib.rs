//! What the tests that cross crates share.

#![allow(clippy::unwrap_used, reason = "in this crate a panic is the report")]

pub mod conformance;
pub mod redis_server;
pub mod sim;
