//! The documents that the command line and the HTTP API read and write: boundary types, bound to the contract's keys.

pub mod history;
pub mod queue;
pub mod record;
pub mod request;
pub mod worker;
