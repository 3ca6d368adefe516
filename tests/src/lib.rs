//! What the tests that cross crates share: servers, faults, and the suites that every adapter passes.

#![allow(clippy::unwrap_used, reason = "in this crate a panic is the report")]

pub mod collector;
pub mod conformance;
pub mod fleet;
pub mod noop;
pub mod npz;
pub mod numpy_random;
pub mod proxy;
pub mod redis_server;
pub mod s3_server;
pub mod scaling;
pub mod servers;
pub mod shared;
pub mod sim;
