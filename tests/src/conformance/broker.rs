//! What every queue does. Each case gets a queue of its own, empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::job::lane::Lane;
use common::port::broker::{Broker, BrokerError, Consumer, Delivery, HOLD, NOTICE_BYTES_MAX};
use futures::future::join_all;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, timeout};

/// Bound on everything that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The next notice of a consumer, within the bound.
///
/// # Panics
/// When none comes.
pub async fn take<C: Consumer>(consumer: &mut C) -> C::Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("a notice comes").expect("the queue accepts")
}

/// A notice as text.
pub fn text(delivery: &impl Delivery) -> String {
    String::from_utf8_lossy(delivery.notice()).into_owned()
}

/// Waits until a lane's ready count is as expected.
///
/// # Panics
/// When it does not become so within the bound.
pub async fn ready_becomes<B: Broker>(broker: &B, lane: Lane, expected: u64) {
    let started = Instant::now();
    let mut last = Err(BrokerError::Unavailable { endpoint: String::new(), detail: "not asked".to_owned() });
    while started.elapsed() < PATIENCE {
        last = broker.ready(lane).await;
        if last == Ok(expected) {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the ready count of {lane} is {last:?} instead of {expected}");
}

/// Publishes numbered notices.
///
/// # Panics
/// When one is not confirmed.
pub async fn publish<B: Broker>(broker: &B, lane: Lane, name: &str, count: usize) {
    let notices: Vec<_> = (0..count).map(|number| format!("{name}{number}")).collect();
    let published = join_all(notices.iter().map(|notice| broker.publish(lane, notice.as_bytes()))).await;
    published.into_iter().collect::<Result<(), _>>().expect("every notice is confirmed");
}

/// Published, taken, acked: gone.
pub async fn a_notice_is_delivered_once_and_acked<B: Broker>(broker: B) {
    broker.assert_topology().await.unwrap();
    broker.assert_topology().await.expect("repeating it is harmless");
    assert!(!broker.health().await.unwrap().server.is_empty());
    broker.publish(Lane::Normal, b"one").await.unwrap();
    ready_becomes(&broker, Lane::Normal, 1).await;
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    let delivery = take(&mut consumer).await;
    assert_eq!(
        (delivery.lane(), delivery.notice(), delivery.redelivered()),
        (Lane::Normal, &b"one"[..], false)
    );
    assert_eq!(broker.ready(Lane::Normal).await.unwrap(), 0, "what is held is not ready");
    delivery.ack().await.unwrap();
    assert!(timeout(HOLD * 3, consumer.next()).await.is_err(), "it comes once");
    consumer.close().await;
    let mut another = broker.consume(&Lane::ALL).await.unwrap();
    assert!(timeout(HOLD * 3, another.next()).await.is_err(), "it is gone");
    assert_eq!(broker.ready(Lane::Normal).await.unwrap(), 0);
}

/// Handed back or dropped, a notice is ready again and marked.
pub async fn a_notice_handed_back_or_dropped_comes_again<B: Broker>(broker: B) {
    broker.publish(Lane::High, b"again").await.unwrap();
    let mut consumer = broker.consume(&[Lane::High]).await.unwrap();
    let delivery = take(&mut consumer).await;
    assert!(!delivery.redelivered());
    delivery.hand_back().await.unwrap();
    let delivery = take(&mut consumer).await;
    assert_eq!((text(&delivery).as_str(), delivery.redelivered()), ("again", true));
    drop(delivery);
    let delivery = take(&mut consumer).await;
    assert_eq!((text(&delivery).as_str(), delivery.redelivered()), ("again", true));
    delivery.hand_back().await.unwrap();
    consumer.close().await;
    ready_becomes(&broker, Lane::High, 1).await;
}

/// A notice handed back a hundred times is still there: no server's delivery limit applies.
pub async fn handing_back_is_unbounded<B: Broker>(broker: B) {
    broker.publish(Lane::Low, b"patient").await.unwrap();
    let mut consumer = broker.consume(&[Lane::Low]).await.unwrap();
    for _ in 0..100 {
        take(&mut consumer).await.hand_back().await.unwrap();
    }
    assert_eq!(text(&take(&mut consumer).await), "patient");
}

/// A consumer gets only its lanes, and the higher first.
pub async fn lanes_are_taken_in_order<B: Broker>(broker: B) {
    const EACH: usize = 20;
    publish(&broker, Lane::Normal, "normal", EACH).await;
    let mut consumer = broker.consume(&[Lane::Low, Lane::High]).await.unwrap();
    let (mut orders, until) = (Vec::new(), Instant::now() + PATIENCE);
    // A pushing server on a busy machine may be late with its pushes: one round of several shows the order.
    loop {
        for lane in [Lane::Low, Lane::High] {
            publish(&broker, lane, lane.as_str(), EACH).await;
            ready_becomes(&broker, lane, EACH as u64).await;
        }
        let mut order = Vec::new();
        for _ in 0..2 * EACH {
            let delivery = take(&mut consumer).await;
            order.push(delivery.lane());
            delivery.ack().await.unwrap();
        }
        assert!(order.iter().all(|lane| *lane != Lane::Normal));
        let high_first = order[..EACH].iter().filter(|lane| **lane == Lane::High).count();
        orders.push(order);
        if high_first >= EACH - 2 {
            break;
        }
        assert!(Instant::now() < until, "{orders:?}");
        // So that the consumer leaves the server, which then counts what is published as ready.
        assert!(timeout(HOLD * 3, consumer.next()).await.is_err());
        drop(consumer);
        consumer = broker.consume(&[Lane::Low, Lane::High]).await.unwrap();
    }
    assert!(timeout(HOLD * 3, consumer.next()).await.is_err(), "the other lane is not its own");
    ready_becomes(&broker, Lane::Normal, EACH as u64).await;
}

/// Ready counts are per lane and follow publishing, taking, handing back and acking.
pub async fn ready_counts_follow<B: Broker>(broker: B) {
    publish(&broker, Lane::High, "h", 3).await;
    publish(&broker, Lane::Low, "l", 500).await;
    ready_becomes(&broker, Lane::High, 3).await;
    ready_becomes(&broker, Lane::Normal, 0).await;
    ready_becomes(&broker, Lane::Low, 500).await;
    let mut consumer = broker.consume(&[Lane::High]).await.unwrap();
    let delivery = take(&mut consumer).await;
    ready_becomes(&broker, Lane::High, 2).await;
    delivery.hand_back().await.unwrap();
    ready_becomes(&broker, Lane::High, 3).await;
    take(&mut consumer).await.ack().await.unwrap();
    ready_becomes(&broker, Lane::High, 2).await;
}

/// A future of `next` that is dropped loses nothing and repeats nothing.
pub async fn next_may_be_dropped<B: Broker>(broker: B) {
    const COUNT: usize = 60;
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    let publishing = async {
        for number in 0..COUNT {
            broker.publish(Lane::Normal, format!("{number}").as_bytes()).await.unwrap();
            sleep(Duration::from_millis(3)).await;
        }
    };
    let consuming = async {
        let mut seen = BTreeMap::<String, u32>::new();
        let started = Instant::now();
        let mut patience = 0;
        while seen.len() < COUNT && started.elapsed() < PATIENCE {
            patience = (patience + 1) % 7;
            // From "at once" to 6 ms: the future is dropped at every stage of its life.
            if let Ok(delivery) = timeout(Duration::from_millis(patience), consumer.next()).await {
                let delivery = delivery.unwrap();
                *seen.entry(text(&delivery)).or_default() += 1;
                delivery.ack().await.unwrap();
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(publishing, consuming);
    assert_eq!(seen.len(), COUNT);
    assert!(seen.values().all(|times| *times == 1), "{seen:?}");
    ready_becomes(&broker, Lane::Normal, 0).await;
}

/// A consumer whose caller is busy holds nothing back from the others.
pub async fn a_full_worker_gives_way<B: Broker>(broker: B) {
    let mut full = broker.consume(&Lane::ALL).await.unwrap();
    broker.publish(Lane::Normal, b"first").await.unwrap();
    take(&mut full).await.ack().await.unwrap();
    publish(&broker, Lane::Normal, "n", 5).await;
    ready_becomes(&broker, Lane::Normal, 5).await;
    let mut free = broker.consume(&Lane::ALL).await.unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let delivery = take(&mut free).await;
        seen.insert(text(&delivery));
        delivery.ack().await.unwrap();
    }
    assert_eq!(seen.len(), 5);
    broker.publish(Lane::High, b"last").await.unwrap();
    free.close().await;
    assert_eq!(text(&take(&mut full).await), "last", "with a free slot it takes again");
}

/// Closing hands back what had been pushed.
pub async fn closing_hands_back<B: Broker>(broker: B) {
    for lane in Lane::ALL {
        publish(&broker, lane, "n", 2).await;
    }
    let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
    take(&mut consumer).await.ack().await.unwrap();
    consumer.close().await;
    let mut left = 0;
    let mut another = broker.consume(&Lane::ALL).await.unwrap();
    for _ in 0..5 {
        take(&mut another).await.ack().await.unwrap();
        left += 1;
    }
    assert_eq!(left, 5);
    assert!(timeout(HOLD * 3, another.next()).await.is_err());
}

/// Several consumers share the work: nothing twice, nobody without.
pub async fn consumers_share<B: Broker>(broker: B) {
    const COUNT: usize = 400;
    publish(&broker, Lane::Normal, "n", COUNT).await;
    let (taken, begun) = (AtomicUsize::new(0), Barrier::new(4));
    let consume = async || {
        let mut consumer = broker.consume(&Lane::ALL).await.unwrap();
        let mut seen = Vec::new();
        while taken.load(Ordering::SeqCst) < COUNT {
            // Another one may have taken the last.
            let Ok(delivery) = timeout(HOLD, consumer.next()).await else { continue };
            let delivery = delivery.unwrap();
            seen.push(text(&delivery));
            delivery.ack().await.unwrap();
            taken.fetch_add(1, Ordering::SeqCst);
            if seen.len() == 1 {
                begun.wait().await;
            }
            // A little work, or one consumer could take everything before the others come to it.
            sleep(Duration::from_millis(1)).await;
        }
        seen
    };
    let all = async { tokio::join!(consume(), consume(), consume(), consume()) };
    let shares = timeout(PATIENCE, all).await.unwrap();
    let shares = [shares.0, shares.1, shares.2, shares.3];
    let all: Vec<_> = shares.iter().flatten().collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (COUNT, COUNT));
    let smallest = shares.iter().map(Vec::len).min().unwrap_or(0);
    assert!(smallest > COUNT / 40, "shares: {:?}", shares.iter().map(Vec::len).collect::<Vec<_>>());
}

/// Notices of every length within the bounds, with any bytes; none outside.
pub async fn notices_are_bounded<B: Broker>(broker: B) {
    let longest: Vec<u8> = (0..NOTICE_BYTES_MAX).map(|at| (at % 256) as u8).collect();
    let mut consumer = broker.consume(&[Lane::Normal]).await.unwrap();
    for notice in [&longest[..], &[0], b"\r\n"] {
        broker.publish(Lane::Normal, notice).await.unwrap();
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.notice(), notice);
        delivery.ack().await.unwrap();
    }
    for notice in [&[1; NOTICE_BYTES_MAX + 1][..], &[]] {
        let error = broker.publish(Lane::Normal, notice).await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused { .. }), "{error}");
    }
    assert_eq!(broker.ready(Lane::Normal).await.unwrap(), 0);
}

/// Makes a test of each case for one adapter. `$make` is an expression that gives a fresh, empty queue.
#[macro_export]
macro_rules! broker_suite {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;
            $crate::broker_suite!(@cases $make;
                a_notice_is_delivered_once_and_acked,
                a_notice_handed_back_or_dropped_comes_again,
                handing_back_is_unbounded,
                lanes_are_taken_in_order,
                ready_counts_follow,
                next_may_be_dropped,
                a_full_worker_gives_way,
                closing_hands_back,
                consumers_share,
                notices_are_bounded,
            );
        }
    };
    (@cases $make:expr; $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::broker::$case($make.await).await;
            }
        )+
    };
}
