//! What keeps a fleet going, written over the ports and bound to no runtime: the programs give it tasks and timers, the
//! simulator gives it virtual time and faults.
//!
//! Each function here is one short trip with awaits between its effects. A process may die at every await, an answer may
//! be lost at every await, and another process may do the same at the same time; the job store's rules make that safe,
//! and `tests/sim` proves it for these very functions. Nothing here sleeps: whoever calls decides how often.

pub mod export;
pub mod keep;
pub mod relay;
pub mod rescue;
pub mod sweep;
pub mod take;
pub mod trip;
pub mod voices;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Awaits all futures at the same time; the answers are in their order.
///
/// Every wake polls every future that is not done. A batch is at most a few hundred futures whose polls cost
/// nanoseconds, so that is cheaper than a waker for each.
async fn side_by_side<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut answers: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, answer) in futures.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => *answer = Some(value),
                Poll::Pending => waiting = true,
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}
