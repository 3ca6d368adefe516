//! What a job is: its specification, its record, every legal change of it, and the decisions about it.
//!
//! Everything in this folder is pure: time, randomness and limits are arguments.

pub mod digest;
pub mod failure;
pub mod id;
pub mod lane;
pub mod lease;
pub mod notice;
pub mod record;
pub mod retry;
pub mod spec;
pub mod trace;
pub mod transition;
pub mod worker;
