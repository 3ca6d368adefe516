//! Embeddings of windows of the recording.

use std::collections::VecDeque;

use super::Shared;
use crate::batch::plan::Network;
use crate::device::handle::{Answer, DeviceError, Rows, Ticket};
use crate::diarize::windows::WindowPlan;

/// Embedding requests that may wait for the device at once; each is small.
const REQUESTS_MAX: usize = 12;

/// Longest stretch of a recording whose samples are kept for windows that wait for a batch to fill, samples.
const WAITING_SAMPLES_MAX: usize = 30 * 16_000;

/// Windows that are planned, wait, or are out.
pub(super) struct Windows {
    plan: WindowPlan,
    dimension: usize,
    waiting: Vec<usize>,
    in_flight: VecDeque<(Vec<usize>, Ticket)>,
}

impl Windows {
    pub fn new(plan: WindowPlan, dimension: usize) -> Self {
        Self { plan, dimension, waiting: Vec::new(), in_flight: VecDeque::new() }
    }

    /// Plans, and queues full requests.
    pub fn submit(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        let samples = shared.tape.end();
        self.plan.advance(&shared.geometry, &shared.found.activity, samples, &mut self.waiting);
        self.send(shared, false)
    }

    pub fn poll(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        while let Some(answer) = self.in_flight.front().and_then(|(_, ticket)| ticket.poll()) {
            if let Some((starts, _)) = self.in_flight.pop_front() {
                self.take(shared, &starts, &answer?);
            }
        }
        Ok(())
    }

    pub fn needed_from(&self) -> usize {
        let waiting = self.waiting.iter().copied().min().unwrap_or(usize::MAX);
        self.plan.needed_from().min(waiting)
    }

    pub fn finish(mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        let samples = shared.tape.end();
        self.plan.finish(&shared.geometry, &shared.found.activity, samples, &mut self.waiting);
        shared.found.hop = self.plan.hop();
        self.answer_all(shared)?;
        self.plan.close(&mut self.waiting);
        self.answer_all(shared)?;
        shared.found.sort_windows();
        Ok(())
    }

    /// Embeds every window that waits.
    fn answer_all(&mut self, shared: &mut Shared<'_>) -> Result<(), DeviceError> {
        self.send(shared, true)?;
        while let Some((starts, ticket)) = self.in_flight.pop_front() {
            let answer = ticket.wait()?;
            self.take(shared, &starts, &answer);
        }
        Ok(())
    }

    /// Queues the windows that wait, in requests of the batch size; the rest stays until `all`, or until their samples
    /// have been kept for long enough.
    fn send(&mut self, shared: &mut Shared<'_>, all: bool) -> Result<(), DeviceError> {
        let rows_max = shared.device.limits().embedding_rows_max;
        while let Some(&oldest) = self.waiting.first()
            && (all || self.waiting.len() >= rows_max || shared.tape.end() > oldest + WAITING_SAMPLES_MAX)
        {
            let count = self.waiting.len().min(rows_max);
            let starts: Vec<usize> = self.waiting.drain(..count).collect();
            let length = self.plan.window().min(shared.tape.end());
            // Windows may lie far apart: each row is copied by itself.
            let samples: Vec<f32> =
                starts.iter().flat_map(|s| shared.tape.slice(*s, s + length)).copied().collect();
            let rows =
                Rows { samples: samples.into(), starts: (0..count).map(|i| i * length).collect(), length };
            while self.in_flight.len() >= REQUESTS_MAX {
                if let Some((starts, ticket)) = self.in_flight.pop_front() {
                    let answer = ticket.wait()?;
                    self.take(shared, &starts, &answer);
                }
            }
            self.in_flight.push_back((starts, shared.device.submit(Network::Embedding, rows)));
        }
        Ok(())
    }

    fn take(&mut self, shared: &mut Shared<'_>, starts: &[usize], answer: &Answer) {
        shared.time.embedding += answer.busy;
        for (start, embedding) in starts.iter().zip(answer.values.chunks_exact(self.dimension)) {
            shared.found.push_window(*start, embedding);
            self.plan.answered(*start, shared.found.embedding(shared.found.windows.len() - 1));
        }
    }
}
