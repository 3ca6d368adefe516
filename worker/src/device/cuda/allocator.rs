//! ONNX Runtime's memory, drawn from a pool of ours.
//!
//! The CUDA provider's own option for that (`gpu_external_alloc`) is refused together with a stream of the user's, and its
//! C interface drops it; an allocator that is registered with the environment serves every session that asks for it
//! (`session.use_env_allocators`).
//!
//! The library calls without saying for which stream. A lane's sessions are loaded and run in the lane's thread, so the
//! thread knows: [`enter`] says it once. While a network runs, memory is used in the order of that stream and needs no
//! waiting for; at any other time (weights, plans) it may be used by any stream, so it is waited for.
#![allow(unsafe_code)] // Functions that C++ calls, and an exception that C++ expects of them.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use ort::environment::Environment;
use ort::memory::MemoryInfo;
use ort::sys::{OrtAllocator, OrtMemoryInfo};
use ort::{AsPointer as _, ortsys};

use super::pool::Stream;

/// The version of the C structure that is filled in here: the first that had all of its functions.
const VERSION: u32 = 18;

/// Where memory comes from.
pub(super) trait Source: Send + Sync {
    /// Memory for whatever comes later in a stream; `None` when there is none.
    fn take(&self, bytes: usize, stream: Option<Stream>) -> Option<u64>;

    /// Takes memory back, in the order of the stream that it was for.
    fn give(&self, address: u64);

    /// Waits until a stream has done everything.
    fn settle(&self, stream: Option<Stream>);
}

/// What is known of the calling thread.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    stream: Option<Stream>,
    running: bool,
    out_of_memory: bool,
}

static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LANE: Cell<Lane> = const { Cell::new(Lane { stream: None, running: false, out_of_memory: false }) };
}

/// Says that this thread is a lane with this stream.
pub(super) fn enter(stream: Stream) {
    LANE.set(Lane { stream: Some(stream), ..Lane::default() });
}

/// Says that a network begins or has ended to run in this thread.
pub(super) fn running(yes: bool) {
    LANE.set(Lane { running: yes, ..LANE.get() });
}

/// How often the library has taken memory in this process.
pub(super) fn taken() -> u64 {
    TAKEN.load(Ordering::Relaxed)
}

/// Whether there was no memory for something that the library wanted in this thread since this was last asked.
pub(super) fn take_out_of_memory() -> bool {
    let lane = LANE.get();
    LANE.set(Lane { out_of_memory: false, ..lane });
    lane.out_of_memory
}

/// What the library gets: its structure first, then what is ours.
#[repr(C)]
struct Registered {
    base: OrtAllocator,
    memory: MemoryInfo<'static>,
    source: Box<dyn Source>,
}

/// Registers a source for a kind of memory, for good.
///
/// # Errors
/// When the library refuses it.
pub(super) fn register(
    environment: &Environment,
    memory: MemoryInfo<'static>,
    source: Box<dyn Source>,
) -> ort::Result<()> {
    type Plain = unsafe extern "system" fn(*mut OrtAllocator, usize) -> *mut c_void;
    type Const = unsafe extern "system" fn(*const OrtAllocator, usize) -> *mut c_void;
    // SAFETY: both differ from their targets in that an exception may leave them, which the caller, C++, expects.
    let (alloc, reserve) = unsafe {
        (
            std::mem::transmute::<unsafe extern "C-unwind" fn(*mut OrtAllocator, usize) -> *mut c_void, Plain>(
                alloc,
            ),
            std::mem::transmute::<
                unsafe extern "C-unwind" fn(*const OrtAllocator, usize) -> *mut c_void,
                Const,
            >(reserve),
        )
    };
    // SAFETY: a structure without functions, which are filled in here.
    let mut base = unsafe { OrtAllocator::default() };
    base.version = VERSION;
    base.Alloc = Some(alloc);
    base.Free = Some(free);
    base.Info = Some(info);
    base.Reserve = Some(reserve);
    // For good: the environment lives as long as the process, and sessions that end late still give memory back.
    let registered: &'static mut Registered = Box::leak(Box::new(Registered { base, memory, source }));
    // SAFETY: the environment lives, and the allocator lives for ever.
    ortsys![unsafe RegisterAllocator(environment.ptr().cast_mut(), &raw mut registered.base)?];
    Ok(())
}

unsafe extern "C-unwind" fn alloc(this: *mut OrtAllocator, bytes: usize) -> *mut c_void {
    // SAFETY: the library calls with what was registered; it is `base` of a `Registered`, which begins with it.
    let registered = unsafe { &*this.cast::<Registered>() };
    if bytes == 0 {
        return std::ptr::null_mut();
    }
    let lane = LANE.get();
    match registered.source.take(bytes, lane.stream) {
        Some(address) => {
            TAKEN.fetch_add(1, Ordering::Relaxed);
            if !lane.running {
                registered.source.settle(lane.stream);
            }
            std::ptr::with_exposed_provenance_mut(address as usize)
        }
        None => {
            LANE.set(Lane { out_of_memory: true, ..lane });
            throw_bad_alloc();
            std::ptr::null_mut()
        }
    }
}

unsafe extern "C-unwind" fn reserve(this: *const OrtAllocator, bytes: usize) -> *mut c_void {
    // SAFETY: as for `alloc`, which changes nothing behind the pointer.
    unsafe { alloc(this.cast_mut(), bytes) }
}

unsafe extern "system" fn free(this: *mut OrtAllocator, address: *mut c_void) {
    if address.is_null() {
        return;
    }
    // SAFETY: as for `alloc`.
    let registered = unsafe { &*this.cast::<Registered>() };
    registered.source.give(address.expose_provenance() as u64);
}

unsafe extern "system" fn info(this: *const OrtAllocator) -> *const OrtMemoryInfo {
    // SAFETY: as for `alloc`.
    unsafe { &*this.cast::<Registered>() }.memory.ptr()
}

/// Throws `std::bad_alloc`, which the library turns into an error of the run; without it, it would go on with an address of
/// nothing. Comes back only where the C++ library has no such function.
fn throw_bad_alloc() {
    // SAFETY: names that end with a zero; the library is there already, since ONNX Runtime needs it.
    let function = unsafe {
        let library = libc::dlopen(c"libstdc++.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        if library.is_null() {
            return;
        }
        libc::dlsym(library, c"_ZSt17__throw_bad_allocv".as_ptr())
    };
    if !function.is_null() {
        // SAFETY: `void std::__throw_bad_alloc()`; it throws through this frame and `alloc`, which hold nothing that would
        // have to be dropped.
        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C-unwind" fn()>(function)() };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use common::home::Home;
    use ort::memory::{AllocationDevice, AllocatorType, MemoryType};
    use ort::session::Session;
    use ort::value::TensorRef;

    use super::*;
    use crate::device::bundle::Bundle;
    use crate::device::cuda::pool::fake::FakePool;
    use crate::device::cuda::pool::{Budgeted, DevicePool as _};
    use crate::device::ort::library;

    struct Counted {
        pool: Budgeted<FakePool>,
        settled: AtomicU64,
        starved: Mutex<bool>,
    }

    impl Source for Arc<Counted> {
        fn take(&self, bytes: usize, stream: Option<Stream>) -> Option<u64> {
            if *self.starved.lock().unwrap() {
                return None;
            }
            // The library's own kernels want room behind their last number.
            self.pool.allocate(bytes + 64, stream.unwrap_or(Stream(0))).ok()
        }

        fn give(&self, address: u64) {
            self.pool.release(address).expect("the fake takes everything back");
        }

        fn settle(&self, _: Option<Stream>) {
            self.settled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Everything but the card: a network of the starter bundle on the CPU, whose memory is ours.
    #[test]
    fn a_network_without_memory_is_an_error_and_the_next_run_goes_well() {
        let bundle = Home::from_environment(|name| std::env::var(name).ok()).and_then(|home| {
            let environment = library::environment(&library::expected_path(&home)).ok()?;
            Some((environment, Bundle::open("starter", &home).ok()?))
        });
        let Some((environment, bundle)) = bundle else {
            eprintln!("SKIPPED: no starter bundle and no ONNX Runtime in ROLLCALL_HOME");
            return;
        };
        let pool = Budgeted::new(FakePool::new(), u64::MAX);
        let counted = Arc::new(Counted { pool, settled: AtomicU64::new(0), starved: Mutex::new(false) });
        let cpu = (AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default);
        let memory = MemoryInfo::new(cpu.0, cpu.1, cpu.2, cpu.3).expect("a CPU has memory");
        register(&environment, memory, Box::new(counted.clone())).expect("the library takes it");
        enter(Stream(5));
        let file = bundle.file(&bundle.manifest.segmentation.file);
        let mut builder = Session::builder(&environment)
            .and_then(|b| Ok(b.with_env_allocators()?.with_intra_threads(1)?))
            .expect("the options are known");
        let mut session = builder.commit_from_file(file).expect("the network loads");
        let loaded = counted.pool.allocations();
        assert!(loaded > 0 && counted.settled.load(Ordering::Relaxed) == loaded, "weights are waited for");

        let samples = crate::selftest::signal(bundle.manifest.segmentation.window_samples as usize, 16_000);
        let mut run = || {
            let input = TensorRef::from_array_view(([1, 1, samples.len()], samples.as_slice()))?;
            session.run(ort::inputs![input]).map(|outputs| outputs.len())
        };
        running(true);
        *counted.starved.lock().unwrap() = true;
        let error = run().expect_err("there is no memory");
        assert!(take_out_of_memory() && !take_out_of_memory(), "{error}");
        *counted.starved.lock().unwrap() = false;
        assert_eq!(run().expect("there is memory again"), 1);
        running(false);
        assert!(!take_out_of_memory());
        assert_eq!(counted.settled.load(Ordering::Relaxed), loaded, "a run waits for nothing");
        drop(session);
        assert!(counted.pool.allocations() > loaded);
        let _ = FakePool::new().reserved();
    }
}
