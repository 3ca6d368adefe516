//! Adapters against real servers, with faults.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod broker;
mod broker_faults;
mod deploy;
mod local_fleet;
mod object_store;
mod queue_away;
mod s3_faults;
mod telemetry;
mod worker_faults;
mod worker_life;
mod worker_real;
