//! A fleet of processes for tests: where its servers are, its workers, and the jobs given to it.

mod deployment;
mod private;
mod process;

pub use deployment::Deployment;
pub use private::{Fleet, PATIENCE, Queue, job_id, namespace};
pub use process::{Process, program};
