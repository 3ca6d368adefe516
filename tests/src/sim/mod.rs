//! The fleet on virtual time: the real use cases over the reference adapters, with every fault that a seed can choose.
//!
//! A run is a [`plan::Plan`]: which jobs are submitted, and which [`plan::Op`] strikes at which effect. An *effect* is one
//! call of a port (job store, broker, object store); effects are counted over the whole run. A process is one future, and
//! between any two of its effects it can die, freeze past its lease, or be told to stop; a call can be lost, its answer
//! can be lost, it can take place long after its caller gave up; a message can be lost, doubled or reordered. Virtual time
//! moves only when nobody can go on.
//!
//! A run is a function of its plan alone: no clock, no thread, no hash order. What counts as failure is in
//! [`checker`], each finding with the invariant's id. Not simulated: a job store that forgets what it had answered
//! (`appendfsync everysec`), clocks that run at different rates, and processes that share memory.

pub mod checker;
pub mod dice;
pub mod lists;
pub mod plan;
pub mod planted;
pub mod ports;
mod process;
mod run;
mod store;
mod world;

pub use checker::{Coverage, Violation};
pub use run::{Outcome, run};
