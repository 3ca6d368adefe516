//! The loop of one lane: take the next batch, run it, scatter the rows.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::engine::{Engine, EngineError};
use super::handle::{DeviceError, InFlight, Queue, Rows};
use crate::batch::plan::{Limits, Network, Shape, next_batch};

/// How long nothing has to come before an engine is told.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// What a lane does next.
enum Next {
    Batch(Shape, Vec<Piece>),
    /// Nothing has come for a while.
    Idle,
}

/// Rows of one request inside the batch that is being run.
struct Piece {
    rows: Rows,
    weights: Arc<[f32]>,
    range: std::ops::Range<usize>,
    shared: Arc<InFlight>,
}

impl Piece {
    fn weights_of(&self, row: usize) -> &[f32] {
        let each = self.weights.len() / self.rows.starts.len();
        &self.weights[row * each..(row + 1) * each]
    }
}

/// Closes the queue when the lane ends for any reason, a panic included, so that nobody waits for it for ever.
struct CloseOnExit<'a>(&'a Queue);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Fails the requests of a batch whose engine panics; they are no longer in the queue, so nothing else would.
struct FailOnPanic<'a>(&'a [Piece]);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for piece in self.0 {
                piece.shared.fail(DeviceError::Stopped);
            }
        }
    }
}

/// Runs batches until the queue closes.
pub(super) fn run(queue: &Queue, mut engine: impl Engine) {
    let _guard = CloseOnExit(queue);
    let mut out = Vec::new();
    let mut rested = false;
    while let Some(next) = take(queue, rested) {
        rested = matches!(next, Next::Idle);
        let Next::Batch(shape, pieces) = next else {
            engine.idle();
            continue;
        };
        if let Err(lost) = execute(queue, &mut engine, shape.network, &pieces, &mut out) {
            tracing::error!(error = %lost, "the device was lost");
            queue.lost.store(true, Ordering::Relaxed);
            break;
        }
    }
    end(queue, engine);
}

/// Ends an engine. On a lost device its libraries cannot give anything back, and some end the process in trying: then it stays
/// as it is, since the process is to end in its own way.
fn end(queue: &Queue, engine: impl Engine) {
    // Another lane's loss that is seen too late: the library's own end of the process, and the leases expire.
    if queue.lost.load(Ordering::Relaxed) {
        std::mem::forget(engine);
    }
}

/// Blocks for the next batch, or, unless the engine was told already, until nothing has come for a while; `None` once the
/// queue is closed.
fn take(queue: &Queue, rested: bool) -> Option<Next> {
    let since = Instant::now();
    let mut state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if state.closed {
            return None;
        }
        state.requests.retain(|r| !r.shared.abandoned.load(Ordering::Relaxed));
        let (divisor, rows_min) = (state.divisor, queue.limits.rows_min.max(1));
        let limits = Limits {
            segmentation_rows_max: (queue.limits.segmentation_rows_max / divisor).max(rows_min),
            embedding_rows_max: (queue.limits.embedding_rows_max / divisor).max(rows_min),
            ..queue.limits
        };
        if let Some((shape, parts)) = next_batch(&state.waiting(), limits) {
            let pieces = parts
                .into_iter()
                .map(|part| {
                    let request = &mut state.requests[part.index];
                    request.planned = part.rows.end;
                    Piece {
                        rows: request.rows.clone(),
                        weights: request.weights.clone(),
                        range: part.rows,
                        shared: request.shared.clone(),
                    }
                })
                .collect();
            state.requests.retain(|r| r.planned < r.rows.starts.len());
            return Some(Next::Batch(shape, pieces));
        }
        if rested {
            state = queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let Some(left) = IDLE_AFTER.checked_sub(since.elapsed()) else {
            return Some(Next::Idle);
        };
        state = queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Runs one batch, halving it for as long as memory does not suffice. An error means that the device is gone.
fn execute(
    queue: &Queue,
    engine: &mut impl Engine,
    network: Network,
    pieces: &[Piece],
    out: &mut Vec<f32>,
) -> Result<(), Arc<EngineError>> {
    let _guard = FailOnPanic(pieces);
    let rows: Vec<(&Piece, usize)> =
        pieces.iter().flat_map(|p| p.range.clone().map(move |i| (p, i))).collect();
    let mut batch_rows = rows.len();
    let mut done = 0;
    while done < rows.len() {
        let batch = &rows[done..rows.len().min(done + batch_rows)];
        let slices: Vec<&[f32]> = batch
            .iter()
            .map(|(piece, row)| {
                let start = piece.rows.starts[*row];
                &piece.rows.samples[start..start + piece.rows.length]
            })
            .collect();
        let weights: Vec<&[f32]> = batch.iter().map(|(piece, row)| piece.weights_of(*row)).collect();
        out.clear();
        let began = Instant::now();
        let outcome = match network {
            Network::Segmentation => engine.segment(&slices, out),
            Network::Embedding => engine.embed(&slices, out),
            Network::Locals => engine.embed_locals(&slices, &weights, out),
            Network::Trunk => engine.trunk(&slices, out),
            Network::Pooling => engine.pool(&slices, &weights, out),
        };
        match outcome {
            Ok(()) => {
                let busy = began.elapsed();
                scatter(batch, out, busy);
                queue.tally.add(network, batch.len(), queue.limits.rows_max(network), busy);
                done += batch.len();
            }
            Err(EngineError::OutOfMemory { .. }) if batch.len() > queue.limits.rows_min.max(1) => {
                batch_rows = (batch.len() / 2).max(queue.limits.rows_min);
                let mut state = queue.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.divisor = (state.divisor * 2).min(1 << 16);
                tracing::warn!(rows = batch_rows, "out of device memory: batches are halved from here on");
            }
            Err(error) => {
                let error = Arc::new(error);
                for piece in pieces {
                    piece.shared.fail(DeviceError::Engine(error.clone()));
                }
                return if matches!(*error, EngineError::Lost { .. }) { Err(error) } else { Ok(()) };
            }
        }
    }
    Ok(())
}

/// Gives each row its share of the output and answers the requests that are complete.
fn scatter(batch: &[(&Piece, usize)], out: &[f32], busy: Duration) {
    let width = out.len() / batch.len();
    let busy_ns = busy.as_nanos() as u64 / batch.len() as u64;
    for ((piece, row), values) in batch.iter().zip(out.chunks_exact(width.max(1))) {
        let shared = &piece.shared;
        if let Some(slot) = shared.slots.lock().unwrap_or_else(PoisonError::into_inner).get_mut(*row) {
            *slot = values.to_vec();
        }
        shared.busy_ns.fetch_add(busy_ns, Ordering::AcqRel);
        if shared.rows_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.finish();
        }
    }
}
