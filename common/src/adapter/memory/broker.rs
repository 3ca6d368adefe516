//! The queue inside one process. Bound to no runtime.
//!
//! Notices are handed out at `next`, the highest lane first; nothing is pushed ahead. What is handed back goes to the
//! front of its lane, as if it had not been taken.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::job::lane::Lane;
use crate::port::broker::{Broker, BrokerError, BrokerHealth, Consumer, Delivery, check_notice};

const ENDPOINT: &str = "memory";

#[derive(Debug)]
struct Notice {
    body: Vec<u8>,
    redelivered: bool,
}

#[derive(Debug, Default)]
struct State {
    lanes: [VecDeque<Notice>; Lane::ALL.len()],
    /// Who awaits `next`, by consumer. All are woken: the first to be polled takes.
    waiting: BTreeMap<u64, Waker>,
    consumers: u64,
}

/// A queue in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

impl MemoryBroker {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; should it, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, lane: Lane, notice: Notice) {
        let mut state = self.lock();
        let queue = &mut state.lanes[lane.index()];
        if notice.redelivered {
            queue.push_front(notice)
        } else {
            queue.push_back(notice)
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Broker for MemoryBroker {
    type Consumer = MemoryConsumer;

    fn assert_topology(&self) -> impl Future<Output = Result<(), BrokerError>> + Send {
        ready(Ok(()))
    }

    fn publish(&self, lane: Lane, notice: &[u8]) -> impl Future<Output = Result<(), BrokerError>> + Send {
        let checked = check_notice(ENDPOINT, notice);
        if checked.is_ok() {
            self.put(lane, Notice { body: notice.to_vec(), redelivered: false });
        }
        ready(checked)
    }

    fn consume(&self, lanes: &[Lane]) -> impl Future<Output = Result<MemoryConsumer, BrokerError>> + Send {
        let id = {
            let mut state = self.lock();
            state.consumers += 1;
            state.consumers
        };
        let mut lanes = lanes.to_vec();
        lanes.sort_unstable();
        ready(Ok(MemoryConsumer { broker: self.clone(), id, lanes }))
    }

    fn ready(&self, lane: Lane) -> impl Future<Output = Result<u64, BrokerError>> + Send {
        ready(Ok(self.lock().lanes[lane.index()].len() as u64))
    }

    fn health(&self) -> impl Future<Output = Result<BrokerHealth, BrokerError>> + Send {
        ready(Ok(BrokerHealth { server: ENDPOINT.to_owned() }))
    }
}

/// A consumer of a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemoryConsumer {
    broker: MemoryBroker,
    id: u64,
    lanes: Vec<Lane>,
}

impl MemoryConsumer {
    fn take(&self, waker: &Waker) -> Option<MemoryDelivery> {
        let mut state = self.broker.lock();
        for &lane in &self.lanes {
            if let Some(notice) = state.lanes[lane.index()].pop_front() {
                state.waiting.remove(&self.id);
                return Some(MemoryDelivery { broker: self.broker.clone(), lane, notice: Some(notice) });
            }
        }
        state.waiting.insert(self.id, waker.clone());
        None
    }
}

impl Consumer for MemoryConsumer {
    type Delivery = MemoryDelivery;

    fn next(&mut self) -> impl Future<Output = Result<MemoryDelivery, BrokerError>> + Send {
        let consumer = &*self;
        poll_fn(move |context| {
            consumer.take(context.waker()).map_or(Poll::Pending, |found| Poll::Ready(Ok(found)))
        })
    }

    fn close(self) -> impl Future<Output = ()> + Send {
        drop(self);
        ready(())
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.broker.lock().waiting.remove(&self.id);
    }
}

/// One notice taken from a [`MemoryBroker`].
#[derive(Debug)]
pub struct MemoryDelivery {
    broker: MemoryBroker,
    lane: Lane,
    /// `None` once it is settled.
    notice: Option<Notice>,
}

impl Delivery for MemoryDelivery {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn notice(&self) -> &[u8] {
        self.notice.as_ref().map_or(&[], |notice| &notice.body)
    }

    fn redelivered(&self) -> bool {
        self.notice.as_ref().is_some_and(|notice| notice.redelivered)
    }

    fn ack(mut self) -> impl Future<Output = Result<(), BrokerError>> + Send {
        self.notice = None;
        ready(Ok(()))
    }

    fn hand_back(self) -> impl Future<Output = Result<(), BrokerError>> + Send {
        drop(self);
        ready(Ok(()))
    }
}

impl Drop for MemoryDelivery {
    fn drop(&mut self) {
        if let Some(notice) = self.notice.take() {
            self.broker.put(self.lane, Notice { redelivered: true, ..notice });
        }
    }
}
