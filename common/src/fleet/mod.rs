//! What keeps a fleet going, written over the ports and bound to no runtime: the programs give it tasks and timers, the
//! simulator gives it virtual time and faults.
//!
//! Each function here is one short trip with awaits between its effects. A process may die at every await, an answer may
//! be lost at every await, and another process may do the same at the same time; the job store's rules make that safe,
//! and `tests/sim` proves it for these very functions. Nothing here sleeps: whoever calls decides how often.

pub mod export;
pub mod keep;
pub mod relay;
pub mod rescue;
pub mod sweep;
pub mod take;
pub mod trip;
pub mod voices;
