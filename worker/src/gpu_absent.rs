//! In place of `gpu` in a build without CUDA: the same names, and one reason.

use std::path::PathBuf;

use common::home::Home;

use crate::device::cuda::{CudaError, CudaSetup, Found};

/// The reason.
pub type GpuError = CudaError;

/// What was found, as lines, and whether all of it holds.
#[derive(Debug, Default)]
pub struct Findings {
    /// For people.
    pub text: String,
    /// No bound was broken.
    pub good: bool,
}

/// There is none.
#[derive(Debug, Clone, Copy)]
pub struct Bench(Found);

/// Compiles nothing.
///
/// # Errors
/// Always.
pub fn compile(_: &[PathBuf], _: &[i32]) -> Result<Findings, GpuError> {
    Err(CudaError)
}

impl Bench {
    /// Takes no card.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &Home, _: &str, _: u32, _: &CudaSetup) -> Result<Self, GpuError> {
        Err(CudaError)
    }

    /// Nobody can ask; likewise below.
    ///
    /// # Errors
    /// Never.
    pub fn kernels(&self) -> Result<Findings, GpuError> {
        match self.0 {}
    }

    /// See [`Bench::kernels`].
    ///
    /// # Errors
    /// Never.
    pub fn parity(&self, _: &[PathBuf]) -> Result<Findings, GpuError> {
        match self.0 {}
    }

    /// See [`Bench::kernels`].
    ///
    /// # Errors
    /// Never.
    pub fn leaks(&self, _: usize) -> Result<Findings, GpuError> {
        match self.0 {}
    }
}
