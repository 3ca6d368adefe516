//! A board in this process's memory, for tests: kernels are their references, networks run on the CPU.
#![allow(unsafe_code)] // Addresses are pointers to memory of `FakePool`.

use common::model::manifest::{Feature, Manifest};
use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;

use super::board::{Address, Board, BoardError, Launch, Opened};
use super::pool::fake::FakePool;
use super::pool::{Budgeted, PoolError, Stream};
use super::reference::{pool_reference, project_reference};
use super::staging::{Cursor, Ring, Upload, put_ints};
use crate::device::bundle::Bundle;
use crate::device::engine::EngineError;
use crate::diarize::fbank::{Fbank, subtract_mean};

/// See the module.
pub(super) struct HostBoard {
    pub pool: Budgeted<FakePool>,
    memory: MemoryInfo<'static>,
    ring: Ring,
    fbank: Option<Fbank>,
    pub idled: usize,
    /// What is said of networks that are opened.
    pub whole: bool,
    pub waited: usize,
}

impl HostBoard {
    pub fn new(manifest: &Manifest, pool: FakePool, budget_bytes: u64) -> Self {
        let of = |feature: &Feature| Fbank::new(feature, manifest.segmentation.sample_rate_hz);
        let cpu = (AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default);
        Self {
            pool: Budgeted::new(pool, budget_bytes),
            memory: MemoryInfo::new(cpu.0, cpu.1, cpu.2, cpu.3).expect("a CPU has memory"),
            // Small and odd, so that parts are cut.
            ring: Ring::new(3, 9_973),
            fbank: manifest.embedding.feature.as_ref().map(of),
            idled: 0,
            whole: true,
            waited: 0,
        }
    }

    /// The values at an address.
    #[allow(clippy::mut_from_ref)]
    fn at<'a, T>(&self, address: Address, values: usize) -> &'a mut [T] {
        let pointer = std::ptr::with_exposed_provenance_mut::<T>(address.0 as usize);
        // SAFETY: the engine under test asks only for what it allocated; Miri or a crash would tell otherwise. Values of a
        // launch never overlap but where one is read before the other is written.
        unsafe { std::slice::from_raw_parts_mut(pointer, values) }
    }

    fn fbank(&mut self, (samples, starts, out): (Address, Address, Address), rows: usize, frames: usize) {
        let mut fbank = self.fbank.take().expect("a bundle with features");
        let (tables, bins) = (fbank.tables(), fbank.bins());
        let length = tables.frame + (frames - 1) * tables.frame_step;
        for row in 0..rows {
            let start = self.at::<i32>(starts, rows)[row] as u64;
            let samples = self.at::<f32>(Address(samples.0 + 4 * start), length);
            let out = Address(out.0 + 4 * (row * frames * bins) as u64);
            fbank.compute(samples, self.at(out, frames * bins));
        }
        self.fbank = Some(fbank);
    }

    fn centre(&self, from: Address, out: Address, (rows, frames): (usize, usize), transposed: bool) {
        let bins = self.fbank.as_ref().expect("a bundle with features").bins();
        for row in 0..rows {
            let offset = 4 * (row * frames * bins) as u64;
            let mut values = self.at::<f32>(Address(from.0 + offset), frames * bins).to_vec();
            subtract_mean(&mut values, bins);
            let out = self.at::<f32>(Address(out.0 + offset), frames * bins);
            for (i, value) in values.into_iter().enumerate() {
                out[if transposed { i % bins * frames + i / bins } else { i }] = value;
            }
        }
    }
}

impl Board for HostBoard {
    fn allocate(&mut self, values: usize) -> Result<Address, BoardError> {
        self.pool.allocate(4 * values, Stream(0)).map(Address).map_err(|error| match error {
            PoolError::OutOfMemory { .. } => BoardError::OutOfMemory { detail: error.to_string() },
            PoolError::Lost { detail } => BoardError::Lost { detail },
        })
    }

    fn release(&mut self, address: Address) {
        self.pool.release(address.0).expect("the fake takes everything back");
    }

    fn upload(&mut self, to: Address, rows: &[&[f32]], upload: &Upload) -> Result<(), BoardError> {
        let (mut cursor, mut done) = (Cursor::default(), 0);
        while let Some(fill) = self.ring.fill(done, upload.values) {
            done = fill.values.end;
            cursor.copy(rows, &upload.parts, &mut self.at(to, upload.values)[fill.values]);
        }
        Ok(())
    }

    fn write_ints(&mut self, to: Address, values: &[i32]) -> Result<(), BoardError> {
        let mut done = 0;
        while let Some(fill) = self.ring.fill(done, values.len()) {
            done = fill.values.end;
            put_ints(&values[fill.values.clone()], &mut self.at(to, values.len())[fill.values]);
        }
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), BoardError> {
        match *launch {
            Launch::Gather { samples, starts, out, rows, length } => {
                for row in 0..rows {
                    let start = self.at::<i32>(starts, rows)[row] as u64;
                    let from = self.at::<f32>(Address(samples.0 + 4 * start), length);
                    self.at::<f32>(out, rows * length)[row * length..][..length].copy_from_slice(from);
                }
            }
            Launch::Fbank { samples, starts, out, rows, frames } => {
                self.fbank((samples, starts, out), rows, frames);
            }
            Launch::Centre { from, out, rows, frames, transposed } => {
                self.centre(from, out, (rows, frames), transposed);
            }
            Launch::Pool { features, weights, frame_of, out, sizes } => {
                let features = self.at(features, sizes.rows * sizes.channels * sizes.steps);
                let weights = self.at(weights, sizes.rows * sizes.speakers * sizes.frames);
                let pooled = pool_reference(features, weights, self.at(frame_of, sizes.steps), sizes);
                self.at(out, pooled.len()).copy_from_slice(&pooled);
            }
            Launch::Project { pooled, dense, bias, out, rows, width, dimension } => {
                let (pooled, dense) = (self.at(pooled, rows * width), self.at(dense, width * dimension));
                let projected = project_reference(pooled, dense, self.at(bias, dimension));
                self.at(out, rows * dimension).copy_from_slice(&projected);
            }
        }
        Ok(())
    }

    fn read(&mut self, from: Address, values: usize, out: &mut Vec<f32>) -> Result<(), BoardError> {
        out.extend_from_slice(self.at(from, values));
        Ok(())
    }

    fn open(&mut self, environment: &Environment, bundle: &Bundle, file: &str) -> Result<Opened, ort::Error> {
        let mut builder = Session::builder(environment)?.with_intra_threads(1)?.with_inter_threads(1)?;
        Ok(Opened { session: builder.commit_from_file(bundle.file(file))?, whole: self.whole })
    }

    fn wait(&mut self) -> Result<(), BoardError> {
        self.waited += 1;
        Ok(())
    }

    fn memory(&self) -> &MemoryInfo<'static> {
        &self.memory
    }

    fn running(&mut self, _: bool) {}

    fn explain(&mut self, network: &'static str, _: usize, error: ort::Error) -> EngineError {
        EngineError::Library { network, source: Box::new(error) }
    }

    fn idle(&mut self) {
        self.idled += 1;
    }
}
