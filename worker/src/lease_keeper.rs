//! Keeps every lease of this worker from a thread of its own, which nothing else runs on: work that takes all the
//! processor for itself cannot make a lease run out.
//!
//! It has a runtime and a connection of its own for the same reason. When a lease is extended is decided in
//! `common::fleet::keep`; here is only the clockwork.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use common::clock::{Clock, SystemClock};
use common::fleet::keep::{Hold, KeepRules, Keeper, Next};
use common::job::lease::LeaseKey;
use common::port::job_store::JobStore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

/// What the thread is told. Bounded by the jobs that the worker holds: two words a job.
enum Word {
    Keep(Arc<Hold>),
    Release(LeaseKey),
}

/// The thread that keeps leases. Dropped, it stops keeping them.
#[derive(Debug)]
pub struct LeaseKeeper {
    words: Option<UnboundedSender<Word>>,
    thread: Option<JoinHandle<()>>,
}

/// A lease that is kept until this is dropped.
#[derive(Debug)]
pub struct Kept {
    key: LeaseKey,
    words: UnboundedSender<Word>,
}

impl LeaseKeeper {
    /// Starts the thread. `open` gives a job store that nobody else uses; it is called on the thread, so that its
    /// connection lives there.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start<S: JobStore>(
        open: impl FnOnce() -> S + Send + 'static,
        rules: KeepRules,
        clock: SystemClock,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (words, told) = unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("lease-keeper".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, run(open(), rules, clock, told)))?;
        Ok(Self { words: Some(words), thread: Some(thread) })
    }

    /// Keeps a lease from now on.
    #[must_use]
    pub fn keep(&self, hold: &Arc<Hold>) -> Kept {
        let words = self.words.clone().expect("only dropping takes it");
        // Should the thread be gone, the lease runs out, and the work under it stops in time.
        let _ = words.send(Word::Keep(Arc::clone(hold)));
        Kept { key: hold.key(), words }
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.words = None;
        // The thread ends once the last lease is released; whoever still holds one waits for it elsewhere.
        drop(self.thread.take());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // As above.
        let _ = self.words.send(Word::Release(self.key));
    }
}

/// An extension under way: gives the lease and its keeper back.
type Extending = Pin<Box<dyn Future<Output = (LeaseKey, Keeper)>>>;

/// A lease and what becomes of it. While it is being extended, its keeper is away.
struct Entry {
    hold: Arc<Hold>,
    keeper: Option<Keeper>,
}

async fn run<S: JobStore>(store: S, rules: KeepRules, clock: SystemClock, mut told: UnboundedReceiver<Word>) {
    let mut entries: HashMap<LeaseKey, Entry> = HashMap::new();
    let mut extending = tokio::task::JoinSet::new();
    loop {
        let wait = round(&mut entries, &clock, |key, hold, mut keeper| {
            let store = store.clone();
            let work: Extending = Box::pin(async move {
                keeper.extend(&store, &hold, &clock).await;
                (key, keeper)
            });
            extending.spawn_local(work);
        });
        tokio::select! {
            word = told.recv() => match word {
                Some(Word::Keep(hold)) => {
                    let keeper = Some(Keeper::new(&hold, rules));
                    entries.insert(hold.key(), Entry { hold, keeper });
                }
                Some(Word::Release(key)) => drop(entries.remove(&key)),
                None => return,
            },
            Some(done) = extending.join_next() => {
                // A panic in there loses the keeper: the lease runs out, and its work stops.
                if let Ok((key, keeper)) = done && let Some(entry) = entries.get_mut(&key) {
                    entry.keeper = Some(keeper);
                }
            }
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Longest sleep: words wake the thread, so this bounds nothing that matters.
const IDLE: Duration = Duration::from_secs(60);

/// Starts every extension that is due; gives how long nothing else is.
fn round(
    entries: &mut HashMap<LeaseKey, Entry>,
    clock: &SystemClock,
    mut extend: impl FnMut(LeaseKey, Arc<Hold>, Keeper),
) -> Duration {
    let (now, mut wait) = (clock.monotonic(), IDLE);
    for (key, entry) in entries {
        let Some(keeper) = entry.keeper.take() else { continue };
        match keeper.next(&entry.hold, now) {
            Next::Extend => extend(*key, Arc::clone(&entry.hold), keeper),
            Next::Wait(until) => {
                wait = wait.min(until.since(now));
                entry.keeper = Some(keeper);
            }
            // The work finds out by itself.
            Next::Lost => {}
        }
    }
    // A due time is in whole milliseconds; waking within the last one would turn in circles.
    wait + Duration::from_millis(1)
}
