//! What the programs need from the outside: a queue that rings, a store for objects.
//!
//! A port is a small trait of `Send` futures, bound to no runtime. Each has one conformance suite (`tests/conformance`)
//! that every adapter passes.

pub mod broker;
pub mod job_store;
pub mod key_store;
pub mod object_store;
