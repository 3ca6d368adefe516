//! The device: the only room that knows inference libraries.
//!
//! A [`Device`](handle::Device) is a queue in front of one or more lanes. A lane is a thread that owns one
//! [`Engine`](engine::Engine); nothing else ever touches it. Callers hand in rows of samples and get rows of numbers.

pub mod bundle;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "cuda_absent.rs"]
pub mod cuda;
pub mod engine;
pub mod gauges;
pub mod handle;
mod lane;
#[cfg(feature = "ort")]
pub mod ort;
pub mod reading;
pub mod safetensors;
pub mod tally;
