//! The HTTP API (contract, section 8): routes over the same use cases as the command line.
//!
//! A request goes `server` (connection, patience) → `tell` (request id, log) → `access` (who asks, what for, how often) →
//! `handler`. What fails is a [`problem::Problem`]; the documents are those of `wire`.

pub mod access;
mod dashboard;
mod handler;
mod health;
pub mod live;
mod opened;
mod patience;
mod problem;
mod rate;
mod router;
mod server;
mod service;
mod tell;
mod upload;

pub use router::{openapi, router};
pub use server::serve;
pub use service::{Door, Parts, Rules, Service};
