//! What every worker does for the fleet beside its jobs: relay, rescue, exports left over, sweeping. Any one survivor is
//! enough.

use std::sync::Arc;
use std::time::Duration;

use common::fleet::relay::{self, RelayRules};
use common::fleet::rescue::{self, RescueRules};
use common::fleet::{export, sweep};
use common::job::lane::Lane;
use common::job::worker::WorkerId;
use common::port::broker::Broker;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;
use common::random::{OsRandom, Random as _};
use common::telemetry::metrics;
use tokio::sync::Notify;

use super::troubles::Troubles;

/// How often upkeep is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpkeepRules {
    /// Mean time between two looks at a lane of the outbox in which nothing was: what a bell waits when its submitter died.
    pub relay_every: Duration,
    /// Mean time between two rescue passes.
    pub rescue_every: Duration,
    /// Jobs or attempts of one pass.
    pub batch: usize,
    /// How long what a pass claims is hidden from others: longer than the pass takes.
    pub claim: Duration,
}

impl Default for UpkeepRules {
    fn default() -> Self {
        Self {
            relay_every: Duration::from_millis(250),
            rescue_every: Duration::from_secs(2),
            batch: 16,
            claim: Duration::from_secs(60),
        }
    }
}

/// Wait after a pass that nobody answered.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks the relay of a lane for a look at once.
pub type Kicks = Arc<[Notify; Lane::ALL.len()]>;

/// Carries bells of a lane from the outbox to the broker for ever.
pub async fn relay(store: impl JobStore, broker: impl Broker, lane: Lane, rules: UpkeepRules, kicks: Kicks) {
    let (relay_rules, mut troubles) = (RelayRules::default(), Troubles::of(format!("relay {lane}")));
    loop {
        let wait = match relay::pass(&store, &broker, lane, &relay_rules).await {
            Ok(relayed) => {
                metrics::relayed(&relayed);
                troubles.outcome(relayed.error.as_ref());
                match relayed.error {
                    Some(_) => PAUSE,
                    None if relayed.is_full(&relay_rules) => Duration::ZERO,
                    None => jittered(rules.relay_every),
                }
            }
            Err(error) => {
                troubles.outcome(Some(&error));
                PAUSE
            }
        };
        if !wait.is_zero() {
            // Whoever is kicked during a pass looks again at once.
            let _ = tokio::time::timeout(wait, kicks[lane.index()].notified()).await;
        }
    }
}

/// Brings back lost jobs for ever.
pub async fn rescue(store: impl JobStore, broker: impl Broker, owner: WorkerId, rules: UpkeepRules) {
    let mut rescuing = Troubles::of("rescue");
    loop {
        tokio::time::sleep(jittered(rules.rescue_every)).await;
        match rescue::pass(&store, &broker, &owner, &RescueRules::default()).await {
            Ok(done) => {
                metrics::rescued(&done);
                rescuing.outcome(done.error.as_ref());
                if done.ended + done.rung > 0 {
                    tracing::info!(leases_ended = done.ended, bells_rung = done.rung, "rescued");
                }
            }
            Err(error) => rescuing.outcome(Some(&error)),
        }
    }
}

/// Exports and sweeps what was left over for ever. Apart from [`rescue`]: a place for results that does not answer holds up
/// no lost job.
pub async fn clear(store: impl JobStore, objects: impl ObjectStore, rules: UpkeepRules) {
    let [mut exporting, mut sweeping] = ["export", "sweep"].map(Troubles::of);
    loop {
        tokio::time::sleep(jittered(rules.rescue_every)).await;
        match export::pass(&store, &objects, rules.batch, rules.claim).await {
            Ok((_, error)) => exporting.outcome(error.as_ref()),
            Err(error) => exporting.outcome(Some(&error)),
        }
        match sweep::pass(&store, &objects, rules.batch, rules.claim).await {
            Ok((_, error)) => sweeping.outcome(error.as_ref()),
            Err(error) => sweeping.outcome(Some(&error)),
        }
    }
}

/// Half to one and a half of a wait, so that workers which started together do not stay together.
pub(super) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + OsRandom.unit())
}
