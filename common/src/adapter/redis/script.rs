//! The scripts, each behind the shared prelude and this deployment's lengths of time.

use ::redis::Script;

use crate::clock::millis;
use crate::port::job_store::StoreRules;
use crate::scaling::{ARRIVALS_OVER, MEAN_WEIGHT};

const PRELUDE: &str = include_str!("lua/prelude.lua");

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        /// One script per step; named like its file.
        pub(super) struct Scripts {
            $(pub $name: Script,)*
        }

        impl Scripts {
            /// The scripts of a deployment with these rules.
            pub fn new(rules: &StoreRules) -> Self {
                let head = head(rules);
                Self {
                    $($name: Script::new(&[&head, PRELUDE, include_str!(concat!("lua/", stringify!($name), ".lua"))].concat()),)*
                }
            }
        }
    };
}

scripts!(
    acquire,
    cancel,
    claim,
    claim_outbox,
    delete_outbox,
    claim_unheard,
    delete_sweeps,
    deliveries,
    end_lease,
    expired,
    extend,
    farewell,
    finish_webhook,
    get,
    heartbeat,
    insert,
    key_create,
    key_find,
    key_revoke,
    keys,
    list,
    mark_exported,
    promote,
    prune,
    purge,
    redeliver,
    report,
    retry,
    ring,
    settle,
    status,
    turn,
    workers,
);

fn head(rules: &StoreRules) -> String {
    let lengths = [
        ("RETENTION", rules.retention),
        ("POISON", rules.poison),
        ("BELL_FIRST", rules.bell_first),
        ("BELL_MAX", rules.bell_max),
        ("EXPORT_GRACE", rules.export_grace),
        ("SWEEP_DELAY", rules.sweep_delay),
        ("ARRIVALS_OVER", ARRIVALS_OVER),
    ];
    let lengths = lengths.iter().map(|(name, length)| format!("local {name} = {}\n", millis(*length)));
    lengths.chain([format!("local MEAN_WEIGHT = {MEAN_WEIGHT}\n")]).collect()
}
