//! Broker and object store as a process of the simulation sees them.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use common::job::lane::Lane;
use common::job::notice::JobNotice;
use common::port::broker::{Broker, BrokerError, BrokerHealth, Consumer, Delivery};
use common::port::object_store::content::Content;
use common::port::object_store::{ByteRange, Object, ObjectInfo, ObjectStore, Page, PutOptions, StoreError};

use super::plan::Hearing;
use super::world::{Fate, World};

/// A broker that loses, doubles and reorders.
#[derive(Clone)]
pub struct SimBroker {
    pub(super) world: World,
}

fn unreachable() -> BrokerError {
    BrokerError::Unavailable { endpoint: String::new(), detail: String::new() }
}

fn unconfirmed() -> BrokerError {
    BrokerError::Unconfirmed { endpoint: String::new(), detail: String::new() }
}

fn put(world: &World, lane: Lane, notice: &[u8]) {
    let mut inner = world.lock();
    inner.messages[lane.index()].push(notice.to_vec());
    inner.arrived = true;
}

/// The broker takes a notice: that is what the outbox waits for, whatever becomes of it afterwards.
fn accept(world: &World, lane: Lane, notice: &[u8], copies: usize) {
    let job = JobNotice::from_bytes(notice).expect("the relay publishes notices").job;
    world.lock().checker.published(job);
    for _ in 0..copies {
        put(world, lane, notice);
    }
    world.crowd();
}

impl SimBroker {
    fn is_away(&self) -> bool {
        self.world.plan().hearing == Hearing::Store
    }
}

impl Broker for SimBroker {
    type Consumer = SimConsumer;

    async fn assert_topology(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn publish(&self, lane: Lane, notice: &[u8]) -> Result<(), BrokerError> {
        let (world, notice) = (&self.world, notice.to_vec());
        match world.before().await {
            _ if self.is_away() => return Err(unreachable()),
            Fate::Go | Fate::GoAndFreeze(_) => accept(world, lane, &notice, 1),
            Fate::Vanish => accept(world, lane, &notice, 0),
            Fate::Twice => accept(world, lane, &notice, 2),
            Fate::GoAndDie => {
                accept(world, lane, &notice, 1);
                world.die().await;
            }
            Fate::Lost => return Err(unreachable()),
            Fate::Unheard => {
                accept(world, lane, &notice, 1);
                return Err(unconfirmed());
            }
            Fate::Late(by_ms) => {
                let due = world.now_ms() + by_ms;
                world.lock().ghosts.push((due, Box::new(move |world| accept(world, lane, &notice, 1))));
                return Err(unconfirmed());
            }
        }
        world.after().await;
        Ok(())
    }

    async fn consume(&self, lanes: &[Lane]) -> Result<SimConsumer, BrokerError> {
        Ok(SimConsumer { world: self.world.clone(), lanes: lanes.to_vec() })
    }

    async fn ready(&self, lane: Lane) -> Result<u64, BrokerError> {
        if self.is_away() {
            return Err(unreachable());
        }
        let counted = self.world.effect(move |world| world.lock().messages[lane.index()].len() as u64);
        counted.await.ok_or_else(unreachable)
    }

    async fn health(&self) -> Result<BrokerHealth, BrokerError> {
        Ok(BrokerHealth { server: String::new() })
    }
}

/// Takes any message of the highest lane that has one.
pub struct SimConsumer {
    world: World,
    lanes: Vec<Lane>,
}

impl SimConsumer {
    fn take(&self) -> Option<SimDelivery> {
        let mut inner = self.world.lock();
        for lane in &self.lanes {
            let count = inner.messages[lane.index()].len() as u64;
            if count > 0 {
                let index = usize::try_from(inner.dice.below(count)).expect("an index fits");
                let notice = inner.messages[lane.index()].remove(index);
                return Some(SimDelivery { world: self.world.clone(), lane: *lane, notice: Some(notice) });
            }
        }
        inner.left.listens = true;
        None
    }
}

impl Consumer for SimConsumer {
    type Delivery = SimDelivery;

    fn next(&mut self) -> impl Future<Output = Result<SimDelivery, BrokerError>> + Send {
        poll_fn(|_| self.take().map_or(Poll::Pending, |delivery| Poll::Ready(Ok(delivery))))
    }

    async fn close(self) {}
}

/// A message in hand; dropped (with its process, say) it is there again.
pub struct SimDelivery {
    world: World,
    lane: Lane,
    notice: Option<Vec<u8>>,
}

impl Delivery for SimDelivery {
    fn lane(&self) -> Lane {
        self.lane
    }

    fn notice(&self) -> &[u8] {
        self.notice.as_deref().unwrap_or_default()
    }

    fn redelivered(&self) -> bool {
        false
    }

    async fn ack(mut self) -> Result<(), BrokerError> {
        // A lost ack leaves the notice with us, and dropping it puts it back.
        let world = self.world.clone();
        match world.before().await {
            Fate::Lost | Fate::Late(_) => return Err(unreachable()),
            Fate::Unheard => {
                self.notice = None;
                return Err(unconfirmed());
            }
            Fate::GoAndDie => {
                self.notice = None;
                world.die().await;
            }
            Fate::Go | Fate::GoAndFreeze(_) | Fate::Vanish | Fate::Twice => self.notice = None,
        }
        Ok(())
    }

    async fn hand_back(self) -> Result<(), BrokerError> {
        drop(self);
        Ok(())
    }
}

impl Drop for SimDelivery {
    fn drop(&mut self) {
        if let Some(notice) = self.notice.take() {
            put(&self.world, self.lane, &notice);
        }
    }
}

/// An object store that sometimes does not answer.
#[derive(Clone)]
pub struct SimObjects {
    pub(super) world: World,
}

impl SimObjects {
    async fn call<T>(
        &self,
        key: &str,
        run: impl FnOnce(&World) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let unanswered =
            || StoreError::Unavailable { key: key.to_owned(), detail: String::new(), retry_after: None };
        self.world.effect(run).await.ok_or_else(unanswered)?
    }

    fn written(world: &World, to: &str, from: Option<&str>) {
        world.lock().checker.written(to, from, &world.jobs);
    }
}

impl ObjectStore for SimObjects {
    async fn put(&self, key: &str, content: Content, options: &PutOptions) -> Result<ObjectInfo, StoreError> {
        let (to, options) = (key.to_owned(), options.clone());
        self.call(key, move |world| {
            let put = World::at_once(world.objects.put(&to, content, &options));
            Self::written(world, &to, None);
            put
        })
        .await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Object, StoreError> {
        let from = key.to_owned();
        self.call(key, move |world| World::at_once(world.objects.get(&from, range))).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, StoreError> {
        let from = key.to_owned();
        self.call(key, move |world| World::at_once(world.objects.head(&from))).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let (under, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.call(prefix, move |world| World::at_once(world.objects.list(&under, after.as_deref(), limit)))
            .await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let (source, target) = (from.to_owned(), to.to_owned());
        self.call(to, move |world| {
            let copied = World::at_once(world.objects.copy(&source, &target));
            if copied.is_ok() {
                Self::written(world, &target, Some(&source));
            }
            copied
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let from = key.to_owned();
        self.call(key, move |world| World::at_once(world.objects.delete(&from))).await
    }

    async fn presign_get(&self, key: &str, _valid: Duration) -> Result<String, StoreError> {
        Ok(key.to_owned())
    }

    async fn presign_put(&self, key: &str, _valid: Duration) -> Result<String, StoreError> {
        Ok(key.to_owned())
    }
}
