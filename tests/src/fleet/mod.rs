//! A fleet of processes for tests: where its servers are, its workers, and the jobs given to it.

mod deployment;
mod process;

pub use deployment::Deployment;
pub use process::{Process, program};
