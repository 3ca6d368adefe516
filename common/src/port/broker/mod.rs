//! The doorbell: lanes of notices, each saying that a job may be ready.
//!
//! # Design
//!
//! A notice is never the truth about a job (that is the job store). Whatever happens to notices can delay a job, never
//! corrupt it: they may be lost, repeated and reordered. From this follow the rules of the port:
//!
//! - **Publishing** returns once the server has confirmed. [`BrokerError::Unconfirmed`] means that the notice may or
//!   may not be there: publish it again, a second ring is harmless.
//! - **Taking** follows demand. A consumer asks the server for notices only while somebody awaits [`Consumer::next`], at
//!   most one per lane, and gives the highest lane it has. A worker without a free slot simply does not call `next`.
//!   What was pushed and is not fetched within [`HOLD`] goes back, the consumer leaves the server, and other workers get
//!   the notices; it comes back with the next call. `next` may be dropped at any time without losing anything.
//! - **A delivery** ends in [`Delivery::ack`] (call it once the lease is held, or when the job turned out not to be
//!   available) or [`Delivery::hand_back`]. Dropping it hands it back in the background: never an ack by accident.
//! - **An ack** that succeeds has been sent; that it arrived, nobody promises.
//! - **A transient failure** of `ack` means that the notice comes again, here or elsewhere; the next `acquire` finds the
//!   job taken and acks that one. Nothing needs to be done. A transient failure of `hand_back` means that the server
//!   redelivers once it notices the lost connection, at the latest after the adapter's claim time. `next` hides transient
//!   failures altogether: it waits while the adapter reconnects.
//! - **Ready counts** are notices that no consumer holds. They may be stale by one round trip.
//!
//! Above some thousand notices a second and lane this design is wrong: one delivery per lane and worker is in flight.

pub mod held;

use std::future::Future;
use std::time::Duration;

use crate::job::lane::Lane;

/// How long a delivery that was pushed may wait for a call of [`Consumer::next`]. Long enough that a worker whose jobs
/// take milliseconds does not leave and rejoin the queue for each, short enough that nobody waits for it.
pub const HOLD: Duration = Duration::from_millis(100);

/// Longest notice in bytes. The body that this project writes has about 100.
pub const NOTICE_BYTES_MAX: usize = 4096;

/// A queue with one lane per priority.
pub trait Broker: Clone + Send + Sync + 'static {
    /// What takes notices.
    type Consumer: Consumer;

    /// Makes sure that every lane exists as this program needs it; repeating it is harmless.
    fn assert_topology(&self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Adds a notice to a lane and waits until the server has confirmed it. Calls may run at the same time: the adapter
    /// pipelines them within a window.
    fn publish(&self, lane: Lane, notice: &[u8]) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Opens a consumer of these lanes. The server need not be reachable yet.
    fn consume(&self, lanes: &[Lane]) -> impl Future<Output = Result<Self::Consumer, BrokerError>> + Send;

    /// Notices of a lane that no consumer holds.
    fn ready(&self, lane: Lane) -> impl Future<Output = Result<u64, BrokerError>> + Send;

    /// One round trip to the server.
    fn health(&self) -> impl Future<Output = Result<BrokerHealth, BrokerError>> + Send;
}

/// Takes notices from some lanes.
pub trait Consumer: Send {
    /// What it gives.
    type Delivery: Delivery;

    /// Waits for a notice and gives the highest lane's that is at hand. May be dropped without loss. The only error is
    /// [`BrokerError::Refused`]; the consumer goes on trying, and `next` may be called again.
    fn next(&mut self) -> impl Future<Output = Result<Self::Delivery, BrokerError>> + Send;

    /// Leaves the server and hands back what it had pushed. Dropping does the same in the background.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// One notice in hand. Dropped, it is handed back in the background.
pub trait Delivery: Send {
    /// The lane it came from.
    fn lane(&self) -> Lane;

    /// The notice.
    fn notice(&self) -> &[u8];

    /// Whether somebody may have held it before.
    fn redelivered(&self) -> bool;

    /// Removes the notice for good.
    fn ack(self) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Makes the notice ready again, for anybody.
    fn hand_back(self) -> impl Future<Output = Result<(), BrokerError>> + Send;
}

/// What a queue server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerHealth {
    /// Kind and, where the server tells it, version.
    pub server: String,
}

/// Why a call failed, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// Nothing was done. Try again later.
    #[error("the queue cannot be reached: {endpoint}: {detail}")]
    Unavailable {
        /// Address without credentials.
        endpoint: String,
        /// What the client library said.
        detail: String,
    },
    /// The request went out and no answer came. Repeat it.
    #[error("the queue did not confirm: {endpoint}: {detail}")]
    Unconfirmed {
        /// Address without credentials.
        endpoint: String,
        /// What was lost.
        detail: String,
    },
    /// Wrong credentials, virtual host, topology or request: it fails again until somebody changes something.
    #[error("the queue refuses: {endpoint}: {detail}")]
    Refused {
        /// Address without credentials.
        endpoint: String,
        /// What the server said.
        detail: String,
    },
}

impl BrokerError {
    /// Whether the same call can succeed later without anybody's help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// Refuses a notice that is empty or longer than [`NOTICE_BYTES_MAX`].
///
/// # Errors
/// [`BrokerError::Refused`].
pub fn check_notice(endpoint: &str, notice: &[u8]) -> Result<(), BrokerError> {
    if (1..=NOTICE_BYTES_MAX).contains(&notice.len()) {
        return Ok(());
    }
    let detail = format!("a notice has 1 to {NOTICE_BYTES_MAX} bytes: {}", notice.len());
    Err(BrokerError::Refused { endpoint: endpoint.to_owned(), detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_bounded() {
        assert!(check_notice("x", &[1]).is_ok());
        assert!(check_notice("x", &[1; NOTICE_BYTES_MAX]).is_ok());
        assert!(check_notice("x", &[]).is_err());
        assert!(!check_notice("x", &[1; NOTICE_BYTES_MAX + 1]).unwrap_err().is_transient());
    }
}
