//! One budget over the memory of a device, whoever asks for it: our own buffers, and ONNX Runtime.
//!
//! [`DevicePool`] is the port; the driver's stream-ordered pool and, in tests, a fake with faults stand behind it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::device::gauges::{DeviceGauges, GaugeSource};

/// A stream of the driver, as the number of its handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream(pub usize);

/// Why there is no memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Not that much is left, of the budget or of the device.
    #[error("no {bytes} bytes are left on the device ({used} of {budget} are in use)")]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
        /// What is in use.
        used: u64,
        /// What may be.
        budget: u64,
    },
    /// The device does not work any more.
    #[error("the device was lost: {detail}")]
    Lost {
        /// What the driver said.
        detail: String,
    },
}

/// Memory that comes and goes in the order of a stream.
pub trait DevicePool: Send + Sync {
    /// Memory that may be used by whatever comes later in `stream`; `Ok(None)` when there is none.
    ///
    /// # Errors
    /// [`PoolError::Lost`].
    fn allocate(&self, bytes: usize, stream: Stream) -> Result<Option<u64>, PoolError>;

    /// Gives memory back once `stream` has come this far.
    ///
    /// # Errors
    /// [`PoolError::Lost`].
    fn release(&self, address: u64, stream: Stream) -> Result<(), PoolError>;

    /// Bytes held from the driver: now, and at most so far.
    ///
    /// # Errors
    /// [`PoolError::Lost`].
    fn reserved(&self) -> Result<(u64, u64), PoolError>;

    /// Gives unused memory back to the driver, down to so many bytes.
    ///
    /// # Errors
    /// [`PoolError::Lost`].
    fn trim(&self, keep_bytes: u64) -> Result<(), PoolError>;
}

/// What is out.
#[derive(Default)]
struct Ledger {
    out: HashMap<u64, (usize, Stream)>,
    used: u64,
    used_max: u64,
    allocations: u64,
}

/// A pool that never gives more than its budget, and keeps count.
pub struct Budgeted<P> {
    pool: P,
    budget_bytes: u64,
    ledger: Mutex<Ledger>,
}

impl<P: DevicePool> Budgeted<P> {
    /// At most `budget_bytes` of a pool.
    pub fn new(pool: P, budget_bytes: u64) -> Self {
        Self { pool, budget_bytes, ledger: Mutex::default() }
    }

    /// Memory for whatever comes later in `stream`.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn allocate(&self, bytes: usize, stream: Stream) -> Result<u64, PoolError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        // The driver has no addresses for nothing.
        let bytes = bytes.max(1);
        let none = |used| PoolError::OutOfMemory { bytes: bytes as u64, used, budget: self.budget_bytes };
        let after = ledger.used.saturating_add(bytes as u64);
        if after > self.budget_bytes {
            return Err(none(ledger.used));
        }
        let address = match self.pool.allocate(bytes, stream)? {
            Some(address) => address,
            // What is held but not used may be in pieces that are too small.
            None => {
                self.pool.trim(ledger.used)?;
                self.pool.allocate(bytes, stream)?.ok_or_else(|| none(ledger.used))?
            }
        };
        ledger.out.insert(address, (bytes, stream));
        ledger.used = after;
        ledger.used_max = ledger.used_max.max(after);
        ledger.allocations += 1;
        Ok(address)
    }

    /// Gives memory back, in the order of the stream that it was taken for; an address that is not out is passed over.
    ///
    /// # Errors
    /// [`PoolError::Lost`].
    pub fn release(&self, address: u64) -> Result<(), PoolError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((bytes, stream)) = ledger.out.remove(&address) else { return Ok(()) };
        ledger.used -= bytes as u64;
        self.pool.release(address, stream)
    }

    /// Gives back to the driver what nobody uses.
    ///
    /// # Errors
    /// [`PoolError::Lost`].
    pub fn trim(&self) -> Result<(), PoolError> {
        let used = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).used;
        self.pool.trim(used)
    }

    /// How often memory was taken so far.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).allocations
    }

    /// Most bytes that were in use at once.
    #[must_use]
    pub fn used_max(&self) -> u64 {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).used_max
    }
}

impl<P: DevicePool> GaugeSource for Budgeted<P> {
    fn gauges(&self) -> DeviceGauges {
        let used_bytes = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).used;
        let (reserved_bytes, high_water_bytes) = self.pool.reserved().unwrap_or_default();
        DeviceGauges { used_bytes, reserved_bytes, high_water_bytes }
    }
}

/// How much of a device may be used: `6GiB`, `500MiB`, `4096` bytes, or `50%` of it.
#[must_use]
pub fn budget_bytes(text: &str, device_bytes: u64) -> Option<u64> {
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent))?;
        return Some(device_bytes / 100 * percent);
    }
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("K", 10), ("M", 20), ("G", 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let number: u64 = number.trim().parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).map(|bytes| bytes.min(device_bytes))
}

#[cfg(test)]
pub(crate) mod fake {
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use super::*;

    /// Memory of this process in place of a device's, with faults.
    pub(crate) struct FakePool {
        /// The allocation, counted from 1, and all after it, that find no memory.
        pub none_from: u64,
        /// The allocation with which the device is lost.
        pub lost_at: u64,
        state: Mutex<State>,
    }

    #[derive(Default)]
    struct State {
        calls: u64,
        out: HashMap<u64, usize>,
        held: u64,
        held_max: u64,
        trimmed: u64,
    }

    impl FakePool {
        pub(crate) fn new() -> Self {
            Self::failing(u64::MAX, u64::MAX)
        }

        pub(crate) fn failing(none_from: u64, lost_at: u64) -> Self {
            Self { none_from, lost_at, state: Mutex::default() }
        }

        pub(crate) fn trimmed(&self) -> u64 {
            self.state.lock().unwrap().trimmed
        }

        fn layout(bytes: usize) -> Layout {
            Layout::from_size_align(bytes, 256).expect("a small size")
        }
    }

    impl Drop for FakePool {
        #[allow(unsafe_code)]
        fn drop(&mut self) {
            for (address, bytes) in std::mem::take(&mut self.state.lock().unwrap().out) {
                // SAFETY: made by `allocate` with this layout, and not yet given back.
                unsafe { dealloc(address as *mut u8, Self::layout(bytes)) };
            }
        }
    }

    impl DevicePool for FakePool {
        #[allow(unsafe_code)]
        fn allocate(&self, bytes: usize, _: Stream) -> Result<Option<u64>, PoolError> {
            let mut state = self.state.lock().unwrap();
            state.calls += 1;
            if state.calls >= self.lost_at {
                return Err(PoolError::Lost { detail: "as planned".to_owned() });
            }
            if state.calls >= self.none_from {
                return Ok(None);
            }
            // SAFETY: the size is not 0.
            let address = unsafe { alloc_zeroed(Self::layout(bytes)) } as u64;
            state.out.insert(address, bytes);
            state.held += bytes as u64;
            state.held_max = state.held_max.max(state.held);
            Ok(Some(address))
        }

        #[allow(unsafe_code)]
        fn release(&self, address: u64, _: Stream) -> Result<(), PoolError> {
            let mut state = self.state.lock().unwrap();
            let bytes = state.out.remove(&address).expect("only what is out is given back");
            state.held -= bytes as u64;
            // SAFETY: made by `allocate` with this layout; it was out until now.
            unsafe { dealloc(address as *mut u8, Self::layout(bytes)) };
            Ok(())
        }

        fn reserved(&self) -> Result<(u64, u64), PoolError> {
            let state = self.state.lock().unwrap();
            Ok((state.held, state.held_max))
        }

        fn trim(&self, _: u64) -> Result<(), PoolError> {
            self.state.lock().unwrap().trimmed += 1;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakePool;
    use super::*;

    const STREAM: Stream = Stream(7);

    #[test]
    fn the_budget_holds_to_the_last_byte() {
        let pool = Budgeted::new(FakePool::new(), 1000);
        let first = pool.allocate(600, STREAM).unwrap();
        let second = pool.allocate(400, STREAM).unwrap();
        let none = PoolError::OutOfMemory { bytes: 1, used: 1000, budget: 1000 };
        assert_eq!(pool.allocate(1, STREAM), Err(none));
        let full = DeviceGauges { used_bytes: 1000, reserved_bytes: 1000, high_water_bytes: 1000 };
        assert_eq!(pool.gauges(), full);
        pool.release(first).unwrap();
        assert!(pool.allocate(601, STREAM).is_err());
        assert!(pool.allocate(600, STREAM).is_ok());
        pool.release(second).unwrap();
        // Twice, as a library in a panic may: nothing happens.
        pool.release(second).unwrap();
        assert_eq!((pool.gauges().used_bytes, pool.used_max(), pool.allocations()), (600, 1000, 3));
    }

    #[test]
    fn pieces_are_given_back_before_it_says_that_there_is_none() {
        let pool = Budgeted::new(FakePool::failing(2, u64::MAX), 1000);
        assert!(pool.allocate(10, STREAM).is_ok());
        let none = PoolError::OutOfMemory { bytes: 10, used: 10, budget: 1000 };
        assert_eq!(pool.allocate(10, STREAM), Err(none));
        assert_eq!(pool.pool.trimmed(), 1);
        assert_eq!(pool.gauges().used_bytes, 10);
    }

    #[test]
    fn a_lost_device_is_told_apart() {
        let pool = Budgeted::new(FakePool::failing(u64::MAX, 2), 1000);
        assert!(pool.allocate(0, STREAM).is_ok());
        assert!(matches!(pool.allocate(1, STREAM), Err(PoolError::Lost { .. })));
    }

    #[test]
    fn budgets_are_read() {
        for (text, bytes) in [
            ("50%", Some(500)),
            ("100%", Some(1000)),
            ("0%", None),
            ("101%", None),
            (" 8 ", Some(8)),
            ("1KiB", Some(1000)),
            ("0", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(budget_bytes(text, 1000), bytes, "{text}");
        }
    }
}
