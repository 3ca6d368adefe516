//! Bundles between machines, as a user meets it: the program against a real S3 server and against a folder.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod bench;
mod damage;
mod kill;
mod layouts;
mod preflight;
mod signatures;
mod trip;
mod trouble;
