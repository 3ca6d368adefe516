//! What the tests that cross crates share: servers, faults, and the suites that every adapter passes.

pub mod conformance;
pub mod proxy;
pub mod s3_server;
pub mod servers;
