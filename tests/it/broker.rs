//! The queue suite, for each adapter.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::adapter::amqp::AmqpBroker;
use common::adapter::memory::broker::MemoryBroker;
use common::adapter::redis_streams::{RedisStreamsBroker, RedisStreamsOptions};
use tests::broker_suite;
use tests::servers::shared;

/// A name that no other test of any run on the shared servers has.
pub fn namespace() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    format!("t{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Short, so that a death shows within a test.
pub const CLAIM_AFTER: Duration = Duration::from_secs(1);

pub fn redis_streams(url: &str, namespace: &str) -> RedisStreamsBroker {
    let options = RedisStreamsOptions { namespace: namespace.to_owned(), claim_after: CLAIM_AFTER };
    RedisStreamsBroker::new(url, options).unwrap()
}

broker_suite!(memory, async { MemoryBroker::new() });
broker_suite!(redis, async { redis_streams(&shared().redis_url, &namespace()) });
broker_suite!(amqp, async { AmqpBroker::new(&shared().amqp_url, &namespace()).unwrap() });
