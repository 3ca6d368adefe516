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
    redis_streams_claiming(url, namespace, CLAIM_AFTER)
}

fn redis_streams_claiming(url: &str, namespace: &str, claim_after: Duration) -> RedisStreamsBroker {
    let options = RedisStreamsOptions { namespace: namespace.to_owned(), claim_after };
    RedisStreamsBroker::new(url, options).unwrap()
}

broker_suite!(memory, async { MemoryBroker::new() });
// Long: a disk that is slow for a moment must not look like a death here.
broker_suite!(redis, async {
    redis_streams_claiming(&shared().redis_url, &namespace(), RedisStreamsOptions::default().claim_after)
});
broker_suite!(amqp, async { AmqpBroker::new(&shared().amqp_url, &namespace()).unwrap() });
