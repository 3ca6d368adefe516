//! What the tests that cross crates share.

#![allow(clippy::unwrap_used, reason = "in this crate a panic is the report")]

pub mod conformance;
pub mod npz;
pub mod redis_server;
pub mod shared;
pub mod sim;
