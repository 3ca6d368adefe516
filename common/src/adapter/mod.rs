//! The ports against real servers, and in memory.
//!
//! Invariant: only `redis*` knows Redis, only `amqp` knows lapin, only `s3` the AWS SDK. Everything but `memory` stands
//! behind a feature of its name.

pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;
