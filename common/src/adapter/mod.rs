//! The ports against real servers, and in memory.
//!
//! Invariant: only `redis*` knows Redis, only `amqp` knows lapin, only `s3` the AWS SDK. Everything but `memory` stands
//! behind a feature of its name.

#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod consuming;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod endpoint;
#[cfg(feature = "folder")]
pub mod folder;
#[cfg(any(feature = "amqp", feature = "redis", feature = "s3"))]
mod jitter;
pub mod memory;
#[cfg(all(feature = "amqp", feature = "redis"))]
pub mod queue;
#[cfg(any(feature = "amqp", feature = "redis"))]
mod reconnect;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "redis")]
pub mod redis_streams;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(all(feature = "s3", feature = "folder"))]
pub mod store;
#[cfg(feature = "web")]
pub mod web;
