//! The driver's stream-ordered memory pool.
//!
//! One of our own, so that nobody else's use of the default pool shows in its gauges. What is freed stays with the pool up
//! to the release threshold, which is the budget: in steady state nothing is mapped or unmapped.
#![allow(unsafe_code)] // cudarc has pools at its unsafe level only.

use cudarc::driver::{result, sys};
use sys::CUmemPool_attribute as Attribute;

use super::board::BoardError;
use super::driver::{Context, judge, synchronize};
use super::pool::{DevicePool, PoolError, Stream};

/// See the module. Never destroyed: ONNX Runtime may give memory back until the process ends.
pub(super) struct DriverPool {
    raw: sys::CUmemoryPool,
    context: Context,
}

// SAFETY: the driver's functions on pools may be called from any thread; the handle is only a number to them.
unsafe impl Send for DriverPool {}
// SAFETY: as above.
unsafe impl Sync for DriverPool {}

impl DriverPool {
    /// A pool on a card that keeps up to `budget_bytes`.
    pub fn new(context: &Context, ordinal: u32, budget_bytes: u64) -> Result<Self, BoardError> {
        context.bind()?;
        let props = sys::CUmemPoolProps {
            allocType: sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            handleTypes: sys::CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE,
            location: sys::CUmemLocation {
                type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                id: ordinal as i32,
            },
            win32SecurityAttributes: std::ptr::null_mut(),
            maxSize: 0,
            usage: 0,
            reserved: [0; 54],
        };
        // SAFETY: the properties are whole and live for the call.
        let raw = unsafe { result::mem_pool::create(&raw const props) }
            .map_err(|error| judge("make a memory pool", error))?;
        let mut threshold = budget_bytes;
        // SAFETY: this attribute is a 64-bit number.
        unsafe {
            let attribute = Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(raw, attribute, (&raw mut threshold).cast())
        }
        .map_err(|error| judge("set the pool's threshold", error))?;
        Ok(Self { raw, context: context.clone() })
    }

    fn ask(&self, attribute: Attribute) -> Result<u64, PoolError> {
        self.bind()?;
        let mut value = 0u64;
        // SAFETY: the attributes asked for here are 64-bit numbers.
        unsafe { result::mem_pool::get_attribute(self.raw, attribute, (&raw mut value).cast()) }
            .map_err(|error| lost(judge("ask the memory pool", error)))?;
        Ok(value)
    }

    fn bind(&self) -> Result<(), PoolError> {
        self.context.bind().map_err(lost)
    }
}

fn lost(error: BoardError) -> PoolError {
    match error {
        BoardError::Lost { detail } => PoolError::Lost { detail },
        other => PoolError::Lost { detail: other.to_string() },
    }
}

fn raw(stream: Stream) -> sys::CUstream {
    std::ptr::with_exposed_provenance_mut(stream.0)
}

impl DevicePool for DriverPool {
    fn allocate(&self, bytes: usize, stream: Stream) -> Result<Option<u64>, PoolError> {
        self.bind()?;
        // SAFETY: the pool lives for ever; the stream is that of a lane that lives, since it asks.
        match unsafe { result::mem_pool::alloc_async(self.raw, bytes, raw(stream)) } {
            Ok(address) => Ok(Some(address)),
            Err(error) => match judge("take memory", error) {
                BoardError::OutOfMemory { .. } => Ok(None),
                other => Err(lost(other)),
            },
        }
    }

    fn release(&self, address: u64, stream: Stream) -> Result<(), PoolError> {
        self.bind()?;
        // SAFETY: the ledger gives every address once, with the stream it was taken for.
        unsafe { result::free_async(address, raw(stream)) }
            .map_err(|error| lost(judge("give memory back", error)))
    }

    fn reserved(&self) -> Result<(u64, u64), PoolError> {
        Ok((
            self.ask(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?,
            self.ask(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)?,
        ))
    }

    fn trim(&self, keep_bytes: u64) -> Result<(), PoolError> {
        self.bind()?;
        let keep = usize::try_from(keep_bytes).unwrap_or(usize::MAX);
        // SAFETY: the pool lives for ever.
        unsafe { result::mem_pool::trim_to(self.raw, keep) }
            .map_err(|error| lost(judge("trim the memory pool", error)))
    }
}

impl super::allocator::Source for std::sync::Arc<super::pool::Budgeted<DriverPool>> {
    fn take(&self, bytes: usize, stream: Option<Stream>) -> Option<u64> {
        let taken = self.allocate(bytes, stream.unwrap_or(Stream(0)));
        taken.inspect_err(|error| tracing::debug!(%error, "ONNX Runtime gets no memory")).ok()
    }

    fn give(&self, address: u64) {
        // On a lost device nothing can be given back, and nothing needs to be.
        let _ = self.release(address);
    }

    fn settle(&self, stream: Option<Stream>) {
        // What goes wrong here goes wrong again where it can be told.
        let _ = synchronize(stream.unwrap_or(Stream(0)));
    }
}
