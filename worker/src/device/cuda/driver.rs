//! The driver: context, stream, pinned memory, events, modules. Each thing frees itself.
#![allow(unsafe_code)] // Calls of the driver's C interface.

use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::sys::{CUevent_flags, CUresult};
use cudarc::driver::{CudaContext, DriverError, result, sys};

use super::board::BoardError;
use super::error::CudaError;
use super::pool::Stream;

/// CUDA 13, which the pinned libraries are made for, as the driver counts.
const CUDA_MIN: i32 = 13_000;
/// The oldest architecture that the pinned ONNX Runtime has code for.
const CAPABILITY_MIN: (i32, i32) = (7, 5);

/// What a card is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub name: String,
    /// `(9, 0)` for sm_90.
    pub capability: (i32, i32),
    pub memory_bytes: u64,
}

/// What the driver said.
pub(super) fn detail(error: DriverError) -> String {
    let text = |text: Result<&std::ffi::CStr, DriverError>| {
        text.map_or_else(|_| "unknown".to_owned(), |text| text.to_string_lossy().into_owned())
    };
    format!("{} ({})", text(error.error_name()), text(error.error_string()))
}

/// What an error means for a caller. A context that has seen anything else than a refusal is of no use any more.
pub(super) fn judge(what: &'static str, error: DriverError) -> BoardError {
    let detail = detail(error);
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => BoardError::OutOfMemory { detail },
        CUresult::CUDA_ERROR_INVALID_VALUE
        | CUresult::CUDA_ERROR_INVALID_HANDLE
        | CUresult::CUDA_ERROR_INVALID_CONTEXT
        | CUresult::CUDA_ERROR_INVALID_DEVICE
        | CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_INVALID_SOURCE
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
        | CUresult::CUDA_ERROR_NOT_FOUND
        | CUresult::CUDA_ERROR_NOT_PERMITTED
        | CUresult::CUDA_ERROR_NOT_SUPPORTED => BoardError::Refused { what, detail },
        _ => BoardError::Lost { detail },
    }
}

/// The context of a card, shared by all lanes.
#[derive(Debug, Clone)]
pub(super) struct Context(Arc<CudaContext>);

impl Context {
    /// Looks at a machine and takes its card of a number.
    pub fn open(ordinal: u32) -> Result<(Self, Described), CudaError> {
        // SAFETY: only loads the library; nothing of it is called.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        let broken = |error: DriverError| CudaError::Driver { code: error.0, detail: detail(error) };
        result::init().map_err(broken)?;
        let mut version = 0;
        // SAFETY: the pointer is of an integer that lives.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(broken)?;
        if version < CUDA_MIN {
            let found = format!("{}.{}", version / 1000, version % 1000 / 10);
            return Err(CudaError::OldDriver { found, needed: "13.0" });
        }
        let count = result::device::get_count().map_err(broken)?;
        if i64::from(ordinal) >= i64::from(count) {
            return Err(CudaError::NoDevice { ordinal, count });
        }
        let context = CudaContext::new(ordinal as usize).map_err(broken)?;
        let described = Described {
            name: context.name().map_err(broken)?,
            capability: context.compute_capability().map_err(broken)?,
            memory_bytes: context.total_mem().map_err(broken)? as u64,
        };
        if described.capability < CAPABILITY_MIN {
            let (major, minor) = described.capability;
            let found = format!("{major}.{minor}");
            return Err(CudaError::OldDevice { name: described.name, found, needed: "7.5" });
        }
        if !context.has_async_alloc() {
            let detail = "it has no memory pools".to_owned();
            return Err(CudaError::Driver { code: CUresult::CUDA_ERROR_NOT_SUPPORTED, detail });
        }
        Ok((Self(context), described))
    }

    /// Makes it the calling thread's.
    pub fn bind(&self) -> Result<(), BoardError> {
        self.0.bind_to_thread().map_err(|error| judge("use the context", error))
    }

    /// A stream that waits for no other.
    pub fn stream(&self) -> Result<StreamHandle, BoardError> {
        self.bind()?;
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(|error| judge("make a stream", error))?;
        Ok(StreamHandle { raw, context: self.clone() })
    }
}

/// A stream.
pub(super) struct StreamHandle {
    raw: sys::CUstream,
    context: Context,
}

impl StreamHandle {
    pub fn raw(&self) -> sys::CUstream {
        self.raw
    }

    /// Its number, for the pool.
    pub fn id(&self) -> Stream {
        Stream(self.raw.expose_provenance())
    }

    /// Waits for everything in it.
    pub fn synchronize(&self) -> Result<(), BoardError> {
        synchronize(self.id())
    }

    /// Copies to the device; the host's memory must not change before the copy is over.
    pub fn to_device<T: Copy>(&self, to: u64, from: &[T]) -> Result<(), BoardError> {
        // SAFETY: the engine gave an address with room; the caller waits for an event before it changes `from`.
        unsafe { result::memcpy_htod_async(to, from, self.raw) }
            .map_err(|error| judge("copy to the device", error))
    }

    /// Copies to the host and waits for it.
    pub fn to_host(&self, to: &mut [f32], from: u64) -> Result<(), BoardError> {
        // SAFETY: the engine gave an address with so many values; `to` is borrowed until the copy is over.
        unsafe { result::memcpy_dtoh_async(to, from, self.raw) }
            .map_err(|error| judge("copy from the device", error))?;
        self.synchronize()
    }

    /// Runs a kernel over pointers to its arguments.
    pub fn launch(
        &self,
        function: sys::CUfunction,
        (grid, block): ((u32, u32), u32),
        arguments: &mut [*mut c_void],
    ) -> Result<(), BoardError> {
        let (grid, block) = ((grid.0, grid.1, 1), (block, 1, 1));
        // SAFETY: `card` gives each kernel the arguments of its signature, and addresses that the engine allocated for them.
        unsafe { result::launch_kernel(function, grid, block, 0, self.raw, arguments) }
            .map_err(|error| judge("run a kernel", error))
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        // On a lost device all of these fail, which changes nothing.
        if self.context.bind().is_ok() {
            // SAFETY: made by `Context::stream`, and nothing keeps it longer: sessions are dropped before the board.
            let _ = unsafe { result::stream::synchronize(self.raw) };
            // SAFETY: as above.
            let _ = unsafe { result::stream::destroy(self.raw) };
        }
    }
}

/// Waits for everything in a stream.
pub(super) fn synchronize(stream: Stream) -> Result<(), BoardError> {
    let raw: sys::CUstream = std::ptr::with_exposed_provenance_mut(stream.0);
    // SAFETY: a number that `StreamHandle::id` gave, of a stream that its lane still has, or 0 for the default one.
    unsafe { result::stream::synchronize(raw) }.map_err(|error| judge("wait for the stream", error))
}

/// Host memory that the device copies from and to by itself.
pub(super) struct Pinned {
    raw: *mut f32,
    values: usize,
}

impl Pinned {
    /// For reading and writing by the host, so not write-combined.
    pub fn new(values: usize) -> Result<Self, BoardError> {
        let bytes = values.max(1) * size_of::<f32>();
        // SAFETY: the size is not 0; a context is bound to this thread.
        let raw = unsafe { result::malloc_host(bytes, 0) }
            .map_err(|error| judge("take pinned memory", error))?
            .cast::<f32>();
        // SAFETY: so many bytes were just given; from now on they are numbers.
        unsafe { raw.write_bytes(0, values.max(1)) };
        Ok(Self { raw, values })
    }

    pub fn len(&self) -> usize {
        self.values
    }

    pub fn values(&mut self) -> &mut [f32] {
        // SAFETY: so many initialised numbers, owned by this value and borrowed with it.
        unsafe { std::slice::from_raw_parts_mut(self.raw, self.values) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: given by `malloc_host`, freed once; the driver waits for copies that still use it.
        let _ = unsafe { result::free_host(self.raw.cast()) };
    }
}

/// A place in a stream that can be waited for.
pub(super) struct Event(sys::CUevent);

impl Event {
    pub fn new() -> Result<Self, BoardError> {
        result::event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)
            .map(Self)
            .map_err(|error| judge("make an event", error))
    }

    /// Marks where the stream is now.
    pub fn record(&self, stream: &StreamHandle) -> Result<(), BoardError> {
        // SAFETY: both live.
        unsafe { result::event::record(self.0, stream.raw) }.map_err(|error| judge("mark the stream", error))
    }

    /// Waits until the stream has passed the mark; at once where there is none yet.
    pub fn wait(&self) -> Result<(), BoardError> {
        // SAFETY: it lives.
        unsafe { result::event::synchronize(self.0) }.map_err(|error| judge("wait for an event", error))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}

/// Kernels, loaded. They stay for the life of the process, as the context does.
pub(super) struct Module(sys::CUmodule);

impl Module {
    /// Loads machine code.
    pub fn load(code: &[u8]) -> Result<Self, BoardError> {
        // SAFETY: `nvrtc` gives a whole image; the driver copies it.
        unsafe { result::module::load_data(code.as_ptr().cast()) }
            .map(Self)
            .map_err(|error| judge("load the kernels", error))
    }

    /// A kernel by its name.
    pub fn function(&self, name: &str) -> Result<sys::CUfunction, BoardError> {
        let c = CString::new(name).unwrap_or_default();
        // SAFETY: the module is loaded and stays so.
        unsafe { result::module::get_function(self.0, c) }.map_err(|error| judge("find a kernel", error))
    }
}
