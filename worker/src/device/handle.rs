//! The handle to a device: rows go in, a ticket comes back, numbers follow.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::engine::{Engine, EngineError};
use super::gauges::{DeviceGauges, GaugeSource};
use super::lane;
use super::tally::Tally;
use crate::batch::plan::{Limits, Network, Shape, Waiting};

/// Equal-length slices of one piece of a recording.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The samples that hold all rows, mono, in [-1, 1].
    pub samples: Arc<[f32]>,
    /// Where each row starts in `samples`.
    pub starts: Vec<usize>,
    /// Samples in each row.
    pub length: usize,
}

/// The numbers for one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Row-major, in the order of the request's rows.
    pub values: Vec<f32>,
    /// Engine time spent on these rows; batches shared with others count by rows.
    pub busy: Duration,
}

/// Why rows gave no numbers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeviceError {
    /// The engine failed on the batch the rows were in.
    #[error("{0}")]
    Engine(Arc<EngineError>),
    /// The device has shut down or a lane panicked.
    #[error("the device has stopped")]
    Stopped,
}

/// A request in the queue.
pub(super) struct Request {
    pub rows: Rows,
    pub network: Network,
    /// Row-major, equally many for each row; empty for networks that take none.
    pub weights: Arc<[f32]>,
    pub planned: usize,
    pub shared: Arc<InFlight>,
}

/// What the lanes that work on one request share.
pub(super) struct InFlight {
    /// One slot per row, filled in any order.
    pub slots: Mutex<Vec<Vec<f32>>>,
    pub rows_left: AtomicUsize,
    pub busy_ns: AtomicU64,
    pub abandoned: AtomicBool,
    pub reply: Sender<Result<Answer, DeviceError>>,
}

/// State that callers and lanes share.
pub(super) struct Queue {
    pub state: Mutex<QueueState>,
    pub changed: Condvar,
    pub limits: Limits,
    pub tally: Tally,
    /// An engine has lost the device that all of them use.
    pub lost: AtomicBool,
}

#[derive(Default)]
pub(super) struct QueueState {
    pub requests: Vec<Request>,
    pub closed: bool,
    /// Rows per batch are divided by this after running out of memory; never made smaller again.
    pub divisor: usize,
}

impl QueueState {
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        self.requests
            .iter()
            .map(|r| Waiting {
                shape: Shape { network: r.network, samples: r.rows.length },
                rows: r.planned..r.rows.starts.len(),
            })
            .collect()
    }
}

/// A device: one queue, one thread per engine. Dropping it lets running batches end and stops the threads.
pub struct Device {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
    gauges: Option<Arc<dyn GaugeSource>>,
}

/// The right to one answer. Dropping it tells the lanes not to bother.
pub struct Ticket {
    receiver: Receiver<Result<Answer, DeviceError>>,
    shared: Arc<InFlight>,
}

impl Device {
    /// Starts one lane per engine factory; each factory runs on its lane's thread, so engines load in parallel and
    /// need not be `Send`.
    ///
    /// # Errors
    /// The first error of a factory; the other lanes are stopped.
    pub fn start<F, E, X>(factories: Vec<F>, mut limits: Limits) -> Result<Self, X>
    where
        F: FnOnce() -> Result<E, X> + Send + 'static,
        E: Engine + 'static,
        X: Send + 'static,
    {
        limits.lanes = factories.len();
        let queue = Arc::new(Queue {
            state: Mutex::new(QueueState { divisor: 1, ..QueueState::default() }),
            changed: Condvar::new(),
            limits,
            tally: Tally::default(),
            lost: AtomicBool::new(false),
        });
        let (ready, started) = channel();
        let mut device = Self { queue: queue.clone(), threads: Vec::new(), gauges: None };
        for (index, factory) in factories.into_iter().enumerate() {
            let (queue, ready) = (queue.clone(), ready.clone());
            let thread = std::thread::Builder::new()
                .name(format!("device-{index}"))
                .spawn(move || match factory() {
                    Ok(engine) => {
                        // The starter may have given up after another lane's error; then nobody listens, which is fine.
                        let _ = ready.send(Ok(()));
                        drop(ready);
                        lane::run(&queue, engine);
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                })
                .expect("the system can start a thread");
            device.threads.push(thread);
        }
        drop(ready);
        for outcome in started {
            outcome?;
        }
        Ok(device)
    }

    /// Queues rows for a network. The answer is row-major, in the order of `rows.starts`.
    ///
    /// # Panics
    /// When a row reaches outside `rows.samples`.
    #[must_use]
    pub fn submit(&self, network: Network, rows: Rows) -> Ticket {
        self.submit_weighted(network, rows, Arc::from([]))
    }

    /// Queues rows with their weights (row-major, equally many for each row) for a network that takes some.
    ///
    /// # Panics
    /// When a row reaches outside `rows.samples`, or the weights cannot be shared out evenly.
    #[must_use]
    pub fn submit_weighted(&self, network: Network, rows: Rows, weights: Arc<[f32]>) -> Ticket {
        assert!(weights.len().is_multiple_of(rows.starts.len().max(1)), "each row has as many weights");
        for start in &rows.starts {
            assert!(start + rows.length <= rows.samples.len(), "a row lies inside its samples");
        }
        let (reply, receiver) = channel();
        let count = rows.starts.len();
        let shared = Arc::new(InFlight {
            slots: Mutex::new(vec![Vec::new(); count]),
            rows_left: AtomicUsize::new(count),
            busy_ns: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            reply,
        });
        let ticket = Ticket { receiver, shared: shared.clone() };
        if count == 0 {
            shared.finish();
            return ticket;
        }
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            // The receiver is in the ticket we return; it cannot be gone.
            let _ = shared.reply.send(Err(DeviceError::Stopped));
        } else {
            state.requests.push(Request { rows, network, weights, planned: 0, shared });
        }
        drop(state);
        self.queue.changed.notify_all();
        ticket
    }

    /// The same device, whose memory pool is `source`.
    #[must_use]
    pub fn with_gauges(mut self, source: Arc<dyn GaugeSource>) -> Self {
        self.gauges = Some(source);
        self
    }

    /// What the device's memory pool says; `None` on a CPU.
    #[must_use]
    pub fn gauges(&self) -> Option<DeviceGauges> {
        self.gauges.as_ref().map(|source| source.gauges())
    }

    /// How many engines share the queue.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.queue.limits.lanes
    }

    /// What it has done so far.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.queue.tally
    }

    /// The bounds batches are made within.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.queue.limits
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A lane that panicked has already closed the queue and failed its callers.
            let _ = thread.join();
        }
    }
}

impl Ticket {
    /// Waits for the numbers.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn wait(self) -> Result<Answer, DeviceError> {
        self.receiver.recv().unwrap_or(Err(DeviceError::Stopped))
    }

    /// The numbers if they are there.
    #[must_use]
    pub fn poll(&self) -> Option<Result<Answer, DeviceError>> {
        use std::sync::mpsc::TryRecvError;
        match self.receiver.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(DeviceError::Stopped)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A lane that reads this late computes rows nobody wants: wasted work, never a wrong answer.
        self.shared.abandoned.store(true, Ordering::Relaxed);
    }
}

impl InFlight {
    /// Sends the rows, in order, once all are there.
    pub(super) fn finish(&self) {
        let slots = std::mem::take(&mut *self.slots.lock().unwrap_or_else(PoisonError::into_inner));
        // An error means that the ticket was dropped: nobody waits.
        let busy = Duration::from_nanos(self.busy_ns.load(Ordering::Acquire));
        let _ = self.reply.send(Ok(Answer { values: slots.concat(), busy }));
    }

    pub(super) fn fail(&self, error: DeviceError) {
        self.abandoned.store(true, Ordering::Relaxed);
        // As above.
        let _ = self.reply.send(Err(error));
    }
}

impl Queue {
    pub(super) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        let left = std::mem::take(&mut state.requests);
        drop(state);
        for request in left {
            request.shared.fail(DeviceError::Stopped);
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each row with its sum (segmentation) or its first sample (embedding); fails on request.
    struct Fake {
        rows_fit: usize,
    }

    impl Engine for Fake {
        fn segment(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
            if rows.len() > self.rows_fit {
                return Err(EngineError::OutOfMemory { rows: rows.len() });
            }
            out.extend(rows.iter().map(|r| r.iter().sum::<f32>()));
            Ok(())
        }

        fn embed(&mut self, rows: &[&[f32]], out: &mut Vec<f32>) -> Result<(), EngineError> {
            assert!(rows.iter().all(|r| r[0] >= 0.0), "told to panic");
            for row in rows {
                out.extend([row[0], -row[0]]);
            }
            Ok(())
        }
    }

    fn device(lanes: usize, rows_fit: usize) -> Device {
        device_of(lanes, rows_fit, 1)
    }

    fn device_of(lanes: usize, rows_fit: usize, rows_min: usize) -> Device {
        let limits = Limits { segmentation_rows_max: 4, embedding_rows_max: 3, rows_min, lanes };
        let factories: Vec<_> = (0..lanes).map(|_| move || Ok::<_, ()>(Fake { rows_fit })).collect();
        Device::start(factories, limits).expect("the fake starts")
    }

    fn rows(starts: Vec<usize>) -> Rows {
        Rows { samples: (0..100).map(|i| i as f32).collect(), starts, length: 2 }
    }

    #[test]
    fn answers_come_in_row_order_whatever_the_batches() {
        let device = device(3, 4);
        let tickets: Vec<_> =
            (0..20).map(|k| device.submit(Network::Segmentation, rows((0..k).rev().collect()))).collect();
        for (k, ticket) in tickets.into_iter().enumerate() {
            let expected: Vec<f32> = (0..k).rev().map(|s| (2 * s + 1) as f32).collect();
            assert_eq!(ticket.wait().expect("the fake answers").values, expected);
        }
        let pair = device.submit(Network::Embedding, rows(vec![7, 3])).wait().expect("the fake answers");
        assert_eq!(pair.values, [7.0, -7.0, 3.0, -3.0]);
    }

    #[test]
    fn out_of_memory_halves_the_batch_and_the_rows_still_arrive() {
        let device = device(1, 1);
        let sums =
            device.submit(Network::Segmentation, rows(vec![0, 1, 2, 3, 4])).wait().expect("one row fits");
        assert_eq!(sums.values, [1.0, 3.0, 5.0, 7.0, 9.0]);
    }

    #[test]
    fn out_of_memory_for_one_row_is_an_error() {
        let device = device(1, 0);
        let error = device.submit(Network::Segmentation, rows(vec![0])).wait().expect_err("nothing fits");
        assert!(
            matches!(error, DeviceError::Engine(e) if matches!(*e, EngineError::OutOfMemory { rows: 1 }))
        );
    }

    #[test]
    fn batches_are_halved_down_to_the_smallest_and_no_further() {
        // Two fit: four rows are halved once.
        let sums = device_of(1, 2, 2).submit(Network::Segmentation, rows(vec![0, 1, 2, 3])).wait();
        assert_eq!(sums.expect("two rows fit").values, [1.0, 3.0, 5.0, 7.0]);
        // One fits, but two is the smallest batch: an error, not one row at a time.
        let error = device_of(1, 1, 2).submit(Network::Segmentation, rows(vec![0, 1, 2, 3])).wait();
        let error = error.expect_err("two rows do not fit");
        assert!(
            matches!(error, DeviceError::Engine(e) if matches!(*e, EngineError::OutOfMemory { rows: 2 }))
        );
    }

    #[test]
    fn a_device_has_gauges_when_it_is_given_some() {
        struct Source;
        impl GaugeSource for Source {
            fn gauges(&self) -> DeviceGauges {
                DeviceGauges { used_bytes: 1, reserved_bytes: 2, high_water_bytes: 3 }
            }
        }
        assert_eq!(device(1, 1).gauges(), None);
        let found = device(1, 1).with_gauges(Arc::new(Source)).gauges();
        assert_eq!(found, Some(DeviceGauges { used_bytes: 1, reserved_bytes: 2, high_water_bytes: 3 }));
    }

    #[test]
    fn a_panicking_engine_stops_the_device_instead_of_hanging_its_callers() {
        let device = device(2, 4);
        let negative = Rows { samples: Arc::from([-1.0, 0.0]), starts: vec![0], length: 2 };
        let answer = device.submit(Network::Embedding, negative).wait();
        assert!(matches!(answer, Err(DeviceError::Stopped)));
        // The other lane may still answer until the queue is closed, which the dying lane does last.
        let stopped = (0..100_000).any(|_| {
            matches!(device.submit(Network::Segmentation, rows(vec![0])).wait(), Err(DeviceError::Stopped))
        });
        assert!(stopped);
    }

    #[test]
    fn a_failing_factory_is_reported() {
        let limits = Limits { segmentation_rows_max: 1, embedding_rows_max: 1, rows_min: 1, lanes: 2 };
        let factories: Vec<_> = [true, false]
            .map(|good| move || if good { Ok(Fake { rows_fit: 1 }) } else { Err("broken") })
            .into();
        assert_eq!(Device::start(factories, limits).err(), Some("broken"));
    }
}
