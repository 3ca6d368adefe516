//! One suite per port, run by every adapter: what a port means is written here first.

pub mod broker;
pub mod job_store;
pub mod object_store;
