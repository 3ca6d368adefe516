//! The ports inside one process: for `rollcall-worker run`, the simulator, and the conformance suites.

pub mod broker;
pub mod job_store;
pub mod object_store;
