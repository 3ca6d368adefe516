//! `rollcall` as a person meets it: exit code, stdout and stderr, on real servers.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod api;
mod client;
mod edges;
mod harness;
mod journey;
mod places;
mod refusals;
mod serve;
mod stand_in;
mod traces;
mod webhooks;
