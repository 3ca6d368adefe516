//! Redis, the queue and the store, over the adapters that the programs use, and this machine's clock against the store's.

use std::future::Future;
use std::time::{Duration, Instant};

use common::adapter::folder::Durability;
use common::adapter::queue::QueueBroker;
use common::adapter::redis::{RedisJobStore, RedisOptions};
use common::adapter::s3::{RepeatPolicy, S3Access, S3Options, S3Store};
use common::adapter::store::UrlStore;
use common::clock::{Clock as _, SystemClock, Timestamp};
use common::port::broker::Broker as _;
use common::port::job_store::{JobStore as _, StoreRules};
use common::port::object_store::{ObjectStore as _, StoreError};

use super::{Check, Plan};

/// A service that takes longer is as good as gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// From here on an answer counts as slow: several of them stand between two batches.
const SLOW_MS: f64 = 250.0;
/// S3 refuses requests that are fifteen minutes off; this leaves a margin.
const SKEW_S_MAX: u64 = 600;
/// A clock that is kept does better.
const SKEW_S_GOOD: u64 = 5;

pub(super) fn checks(plan: &Plan<'_>) -> Vec<Check> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return vec![Check::failure("services", format!("no threads: {error}"), "raise `ulimit -u`")];
        }
    };
    let mut checks = Vec::new();
    if let Some(url) = plan.redis_url {
        checks.push(runtime.block_on(redis(url)));
    }
    if let Some(url) = plan.queue_url {
        checks.push(runtime.block_on(queue(url)));
    }
    if let Some(url) = plan.store_url {
        checks.extend(runtime.block_on(store(url)));
    }
    checks
}

/// What came of a call, and after how many milliseconds.
async fn timed<T, E: std::fmt::Display>(
    call: impl Future<Output = Result<T, E>>,
) -> (Result<T, String>, f64) {
    let started = Instant::now();
    let result = match tokio::time::timeout(PATIENCE, call).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    (result, started.elapsed().as_secs_f64() * 1e3)
}

fn judged(name: &'static str, found: Result<String, String>, latency_ms: f64, fix: &str) -> Check {
    let check = match found {
        Err(error) => return Check::failure(name, error, fix),
        Ok(found) if latency_ms > SLOW_MS => {
            Check::warning(name, format!("{found}, slow to answer"), "run workers nearer to it")
        }
        Ok(found) => Check::ok(name, found),
    };
    check.after(latency_ms)
}

async fn redis(url: &str) -> Check {
    let fix = "start Redis, or set `ROLLCALL_REDIS_URL`";
    let store = match RedisJobStore::new(RedisOptions::new(url), &StoreRules::default()) {
        Ok(store) => store,
        Err(error) => return Check::failure("redis", error.to_string(), fix),
    };
    // The first call connects; the second shows what a call costs.
    let (first, connecting_ms) = timed(store.time()).await;
    if let Err(error) = first {
        return judged("redis", Err(error), connecting_ms, fix);
    }
    let (answer, latency_ms) = timed(store.time()).await;
    judged("redis", answer.map(|_| "answers".to_owned()), latency_ms, fix)
}

async fn queue(url: &str) -> Check {
    let fix = "start the queue's server, or set `ROLLCALL_QUEUE_URL`";
    let broker = match QueueBroker::new(url) {
        Ok(broker) => broker,
        Err(error) => return Check::failure("queue", error.to_string(), fix),
    };
    let (first, connecting_ms) = timed(broker.health()).await;
    if let Err(error) = first {
        return judged("queue", Err(error), connecting_ms, fix);
    }
    let (answer, latency_ms) = timed(broker.health()).await;
    judged("queue", answer.map(|health| health.server), latency_ms, fix)
}

async fn store(url: &str) -> Vec<Check> {
    let fix = "check `ROLLCALL_STORE_URL`, `AWS_ENDPOINT_URL_S3` and the `AWS_*` credentials";
    let store = match open(url).await {
        Ok(store) => store,
        Err(error) => return vec![Check::failure("store", error.to_string(), fix)],
    };
    let (first, connecting_ms) = timed(store.list("", None, 1)).await;
    let mut checks = Vec::new();
    if let UrlStore::S3(s3) = &store {
        checks.extend(clock(s3).await);
    }
    let (listed, latency_ms) = match first {
        Ok(_) => timed(store.list("", None, 1)).await,
        Err(error) => (Err(error), connecting_ms),
    };
    checks.push(judged("store", listed.map(|_| format!("{url} can be listed")), latency_ms, fix));
    checks
}

/// As the programs open it, but without long repetition: an operator waits.
async fn open(url: &str) -> Result<UrlStore, StoreError> {
    let quick = RepeatPolicy { tries_max: 2, within: Duration::from_secs(5), ..RepeatPolicy::default() };
    match UrlStore::open(url, Durability::Cached, &S3Access::default()).await? {
        UrlStore::S3(s3) => {
            let options = S3Options { repeat: quick, ..S3Options::default() };
            let location = s3.location().clone();
            Ok(UrlStore::S3(S3Store::connect(location, &S3Access::default(), options).await))
        }
        folder => Ok(folder),
    }
}

async fn clock(s3: &S3Store) -> Option<Check> {
    let clock = SystemClock::new();
    let before = clock.now();
    let (date, latency_ms) = timed(s3.server_date()).await;
    // A store that does not answer is reported as such.
    let date = date.ok()??;
    let theirs_ms = date.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis() as u64;
    Some(skew(before, latency_ms, theirs_ms))
}

/// `theirs_ms` is cut to a whole second, and belongs to some moment of the call.
fn skew(before: Timestamp, latency_ms: f64, theirs_ms: u64) -> Check {
    let earliest = before.as_millis();
    let latest = earliest + latency_ms as u64;
    // How far theirs lies outside what it could be were the clocks equal.
    let ahead = theirs_ms.saturating_sub(latest);
    let behind = earliest.saturating_sub(theirs_ms.saturating_add(1_000));
    let off_s = ahead.max(behind).div_ceil(1_000);
    let found = match (ahead, behind) {
        (0, 0) => "agrees with the store's".to_owned(),
        (0, _) => format!("{off_s} s ahead of the store's"),
        _ => format!("{off_s} s behind the store's"),
    };
    let fix = "let the system keep its clock: `timedatectl set-ntp true`";
    if off_s <= SKEW_S_GOOD {
        Check::ok("clock", found)
    } else if off_s <= SKEW_S_MAX {
        Check::warning("clock", found, fix)
    } else {
        Check::failure("clock", format!("{found}; S3 refuses requests at 900 s"), fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;

    #[test]
    fn clocks_are_compared_with_what_a_second_and_a_call_allow() {
        let at = |theirs_ms| skew(Timestamp::from_millis(1_000_000), 40.0, theirs_ms);
        for theirs in [999_000, 1_000_000, 1_000_040] {
            assert_eq!(at(theirs).found, "agrees with the store's", "{theirs}");
        }
        assert_eq!(at(1_000_041).found, "1 s behind the store's");
        assert_eq!(at(998_999).found, "1 s ahead of the store's");
        assert_eq!(at(1_005_040).verdict, Verdict::Ok);
        assert_eq!(at(1_005_041).verdict, Verdict::Warning);
        assert_eq!(at(1_600_040).verdict, Verdict::Warning);
        assert_eq!(at(1_600_041).verdict, Verdict::Failure);
        assert_eq!(at(0).verdict, Verdict::Failure);
    }

    #[test]
    fn slow_and_silent_services_are_told_apart() {
        assert_eq!(judged("x", Ok("y".into()), SLOW_MS, "").verdict, Verdict::Ok);
        assert_eq!(judged("x", Ok("y".into()), SLOW_MS + 1.0, "").verdict, Verdict::Warning);
        assert_eq!(judged("x", Err("gone".into()), 1.0, "fix").verdict, Verdict::Failure);
    }
}
