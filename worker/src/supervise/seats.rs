//! `admission` for tasks: waiting for a seat, and for its turn to work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::admission::{Admission, Seat};

/// The seats that all tasks of a worker share.
#[derive(Debug, Clone)]
pub struct Seats(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    admission: Mutex<Admission>,
    changed: Notify,
}

/// A seat that is given back when this is dropped.
#[derive(Debug)]
pub struct Seated {
    seats: Seats,
    seat: Seat,
}

impl Seats {
    /// See [`Admission::new`].
    #[must_use]
    pub fn new(seats_max: usize, bytes_max: u64) -> Self {
        let admission = Mutex::new(Admission::new(seats_max, bytes_max));
        Self(Arc::new(Shared { admission, changed: Notify::new() }))
    }

    /// Waits for room and takes a seat. May be dropped at any time.
    pub async fn sit(&self) -> Seated {
        let sit = || self.lock().sit().map(|seat| Seated { seats: self.clone(), seat });
        self.until(sit).await
    }

    /// Waits until nobody sits.
    pub async fn empty(&self) {
        self.until(|| (self.lock().taken() == 0).then_some(())).await;
    }

    /// Jobs that work or wait for memory.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.lock().jobs()
    }

    fn lock(&self) -> MutexGuard<'_, Admission> {
        // Nothing panics while it holds the lock.
        self.0.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            // Registered before the look, so that a change after it is not missed.
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }
}

impl Seated {
    /// Says what the job needs and waits for its turn. May be dropped; the seat then goes on waiting.
    pub async fn admitted(&self, bytes: u64) {
        if !self.seats.lock().weigh(self.seat, bytes) {
            self.seats.until(|| self.seats.lock().works(self.seat).then_some(())).await;
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seats.lock().leave(self.seat);
        self.seats.0.changed.notify_waiters();
    }
}
