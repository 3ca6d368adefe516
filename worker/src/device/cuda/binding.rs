//! Networks bound to memory of the device, and run there.
//!
//! ort's own `bind_input` would copy a tensor that borrows its memory, through the host; what is bound here is the memory
//! itself, by the C interface below it.
#![allow(unsafe_code)] // The C interface of ONNX Runtime; the reason is above.

use std::ffi::CString;

use ort::ep::CUDA;
use ort::memory::MemoryInfo;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensorValueType, Shape, Tensor, TensorRefMut};
use ort::{AsPointer as _, ortsys};

use super::board::Address;
use super::driver::StreamHandle;

/// Floats of the device that a network reads or writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port<'a> {
    /// Name of the network's input or output.
    pub name: &'a str,
    /// Length of each axis.
    pub shape: &'a [usize],
    /// Where they stand; memory of the board for as long as the binding is used.
    pub at: Address,
}

/// Where a network's output goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Output<'a> {
    /// Into memory of ours.
    Ours(Port<'a>),
    /// Into memory that ONNX Runtime takes for it.
    Theirs(&'a str),
}

/// A network with its memory.
pub(super) struct Binding {
    io: IoBinding,
}

impl Binding {
    /// Binds inputs and one output; `lengths` is an input of 64-bit integers with a name, which the network gets by value.
    pub fn new(
        session: &Session,
        memory: &MemoryInfo<'static>,
        inputs: &[Port<'_>],
        lengths: Option<(&str, Vec<i64>)>,
        output: Output<'_>,
    ) -> ort::Result<Self> {
        let mut io = session.create_binding()?;
        for port in inputs {
            let (tensor, name) = tensor(memory, port)?;
            // SAFETY: both pointers are of values that live; the binding takes a share of the tensor.
            ortsys![unsafe BindInput(io.ptr_mut(), name.as_ptr(), tensor.ptr())?];
        }
        if let Some((name, lengths)) = lengths {
            io.bind_input(name, &Tensor::from_array(([lengths.len()], lengths))?)?;
        }
        match output {
            Output::Ours(port) => {
                let (tensor, name) = tensor(memory, &port)?;
                // SAFETY: as above.
                ortsys![unsafe BindOutput(io.ptr_mut(), name.as_ptr(), tensor.ptr())?];
            }
            Output::Theirs(name) => io.bind_output_to_device(name, memory)?,
        }
        Ok(Self { io })
    }

    /// Runs a network into memory of ours.
    pub fn run(&self, session: &mut Session, options: &RunOptions) -> ort::Result<()> {
        session.run_binding_with_options(&self.io, options).map(|_| ())
    }

    /// Runs a network into memory of theirs, and lets `look` see shape and place of its output while that is there.
    pub fn run_free<T>(
        &self,
        session: &mut Session,
        options: &RunOptions,
        look: impl FnOnce(&[i64], Address) -> T,
    ) -> ort::Result<T> {
        let outputs = session.run_binding_with_options(&self.io, options)?;
        let output = outputs[0].view().downcast::<DynTensorValueType>()?;
        Ok(look(output.shape(), Address(output.data_ptr().addr() as u64)))
    }
}

/// A provider that runs in a stream of ours.
pub(super) fn in_stream(provider: CUDA, stream: &StreamHandle) -> CUDA {
    // SAFETY: sessions are dropped before the board that owns the stream, as the fields of `CudaEngine` are ordered.
    unsafe { provider.with_compute_stream(stream.raw().cast()) }
}

fn tensor<'a>(
    memory: &MemoryInfo<'static>,
    port: &Port<'_>,
) -> ort::Result<(TensorRefMut<'a, f32>, CString)> {
    let shape: Shape = port.shape.iter().map(|n| *n as i64).collect();
    let data = std::ptr::with_exposed_provenance_mut(port.at.0 as usize);
    // SAFETY: the engine binds only memory that its board gave it, of at least this shape, and keeps it for as long as it
    // keeps the binding. Nobody reads or writes it through this value.
    let tensor = unsafe { TensorRefMut::from_raw(memory.clone(), data, shape)? };
    let name = CString::new(port.name).map_err(|_| ort::Error::new("a name with a zero in it"))?;
    Ok((tensor, name))
}
