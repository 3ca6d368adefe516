//! The fleet as it changes: one look a second for all who follow it, and one every few seconds for the history.
//!
//! Invariant: however many streams there are, one task asks the job store, and a stream that reads slowly skips what it
//! missed. Nobody asks while nobody listens, but for the history.

mod history;
mod snapshot;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use common::job::record::{JobRecord, JobState};
use common::port::job_store::{JobFilter, JobStore as _, StoreResult};
use futures::{future, stream};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until};

use self::history::History;
use self::snapshot::{Look, Snapshot};
use super::handler::events::{ALIVE, STREAM_LASTS, slot};
use super::problem::{Problem, ProblemDocument};
use super::service::Service;
use crate::wire::history::HistoryDocument;
use crate::wire::queue::QueueDocument;

/// How often whoever follows is told about the queue.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Least time between looks, however often somebody new makes the next one come early.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// How far points of the history are apart.
const POINT_EVERY: Duration = Duration::from_secs(5);
/// Newest jobs whose changes are told, and as many running ones, until they end.
const JOBS: usize = 100;

/// What is known of the fleet, and who is told.
#[derive(Default)]
pub struct Live {
    seen: watch::Sender<Arc<Snapshot>>,
    /// Somebody new listens.
    wake: Notify,
    history: Mutex<History>,
}

impl Live {
    /// Hears of every look from now on. What was seen before may be old: the first look heard of is a new one.
    fn listen(&self) -> watch::Receiver<Arc<Snapshot>> {
        let heard = self.seen.subscribe();
        self.wake.notify_one();
        heard
    }

    fn history(&self) -> HistoryDocument {
        // Nothing panics while it is held.
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        HistoryDocument::new(POINT_EVERY, history.points())
    }

    fn told(&self, look: Look) {
        self.seen.send_modify(|seen| *seen = Arc::new(seen.after(look)));
    }
}

/// Looks at the fleet until the service stops.
pub async fn run(service: Service) {
    tokio::select! {
        () = follow(&service) => {}
        () = service.stop.cancelled() => {}
    }
}

async fn follow(service: &Service) {
    let live = &service.live;
    let mut point_due = Instant::now();
    loop {
        let (began, watched) = (Instant::now(), live.seen.receiver_count() > 0);
        let point = began >= point_due;
        if point {
            // On a grid of its own, but for what an outage skipped.
            point_due = (point_due + POINT_EVERY).max(began);
        }
        if watched || point {
            let queue = look(service, watched).await;
            if let (true, Some(queue)) = (point, queue) {
                let mut history = live.history.lock().unwrap_or_else(PoisonError::into_inner);
                history.push((&queue).into());
            }
        }
        let next = if watched { (began + LOOK_EVERY).min(point_due) } else { point_due };
        sleep(LOOK_PAUSE).await;
        tokio::select! {
            () = sleep_until(next) => {}
            () = live.wake.notified() => {}
        }
    }
}

/// One look: at all of it where somebody listens, else at the queue alone.
async fn look(service: &Service, watched: bool) -> Option<QueueDocument> {
    if !watched {
        // The next one who listens hears of an outage; the history has a gap.
        return service.jobs.status().await.ok().map(|status| QueueDocument::from(&status));
    }
    match everything(service).await {
        Ok((queue, look)) => {
            service.live.told(look);
            Some(queue)
        }
        Err(error) => {
            tracing::debug!(%error, "the job store fails a look at the fleet");
            service.live.told(Look::Away);
            None
        }
    }
}

async fn everything(service: &Service) -> StoreResult<(QueueDocument, Look)> {
    let newest = JobFilter { limit: JOBS, ..JobFilter::default() };
    let running = JobFilter { state: Some(JobState::Running), ..newest.clone() };
    let jobs = &service.jobs;
    let (status, workers, newest, running) =
        futures::try_join!(jobs.status(), jobs.workers(), jobs.list(newest), jobs.list(running))?;
    let mut seen = joined(newest.jobs, running.jobs);
    // Of a job that ran and is in neither list any more, the end is told.
    let before = service.live.seen.borrow().running();
    let gone = before.iter().filter(|id| seen.iter().all(|record| record.id != **id));
    let ended = future::try_join_all(gone.map(|id| jobs.get(*id))).await?;
    seen = joined(seen, ended.into_iter().flatten().collect());
    let queue = QueueDocument::from(&status);
    let look = Look::seen(&queue, workers, seen, service.clock().monotonic());
    Ok((queue, look))
}

/// Both lists as one, the newest first, each job once. Where it changed between the two questions, one of the records is
/// a moment old; the next look tells the other.
fn joined(mut all: Vec<JobRecord>, more: Vec<JobRecord>) -> Vec<JobRecord> {
    all.extend(more);
    all.sort_by_key(|record| std::cmp::Reverse(record.id));
    all.dedup_by_key(|record| record.id);
    all
}

/// One who listens.
struct Listener {
    service: Service,
    heard: watch::Receiver<Arc<Snapshot>>,
    /// The number of the last look that was told.
    told: u64,
    /// Whether queue and workers are still to be told, changed or not.
    first: bool,
    waiting: VecDeque<Event>,
    until: Instant,
    _slot: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while self.waiting.is_empty() {
            tokio::select! {
                changed = self.heard.changed() => changed.ok()?,
                () = sleep_until(self.until) => return None,
                () = self.service.stop.cancelled() => return None,
            }
            let snapshot = self.heard.borrow_and_update().clone();
            let events = snapshot.events(self.told, self.first);
            self.waiting.extend(events.map(|(name, text)| Event::default().event(name).data(&*text)));
            (self.told, self.first) = (snapshot.number(), false);
        }
        let event = self.waiting.pop_front()?;
        Some((Ok(event), self))
    }
}

/// The fleet as it changes. `queue` is the document of `/v1/queue`, each second; `workers` that of `/v1/workers`, when
/// it changes and at least every two seconds; `job` the record of a job that changed, among the newest and the running
/// ones; `problem` says that the job store does not answer. It ends after five minutes: ask again.
#[utoipa::path(get, path = "/v1/events", operation_id = "fleet_events", tag = "fleet", responses(
    (status = 200, description = "Server-sent events `queue`, `workers`, `job`, `problem`", content_type = "text/event-stream", body = serde_json::Value),
    (status = 503, description = "Too many streams", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub async fn events(State(service): State<Service>) -> Result<Response, Problem> {
    let slot = slot(&service)?;
    let heard = service.live.listen();
    let told = heard.borrow().number();
    let until = Instant::now() + STREAM_LASTS;
    let listener =
        Listener { service, heard, told, first: true, waiting: VecDeque::new(), until, _slot: slot };
    let steps = stream::unfold(listener, Listener::next);
    Ok(Sse::new(steps).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// The queue over the last hour, a point every five seconds, as far as this process has seen it.
#[utoipa::path(get, path = "/v1/queue/history", operation_id = "queue_history", tag = "fleet", responses(
    (status = 200, description = "The points, the oldest first", body = HistoryDocument),
))]
pub async fn history(State(service): State<Service>) -> Json<HistoryDocument> {
    Json(service.live.history())
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::job::id::JobId;
    use common::job::spec::{JobSpec, SourceRef};

    use super::*;

    fn record(n: u64, state: JobState) -> JobRecord {
        let id = JobId::new(Timestamp::from_millis(n), [0; 16]);
        let spec = JobSpec::diarize(SourceRef::at("s3://b/a"));
        JobRecord { state, ..JobRecord::accepted(id, spec, Duration::ZERO, Timestamp::from_millis(n)) }
    }

    #[test]
    fn two_lists_become_one() {
        let available = |n| record(n, JobState::Available);
        let running = |n| record(n, JobState::Running);
        let all = joined(vec![available(9), available(8), available(7)], vec![running(8), running(2)]);
        let told: Vec<_> = all.iter().map(|record| (record.created_at.as_millis(), record.state)).collect();
        let states = [JobState::Available, JobState::Available, JobState::Available, JobState::Running];
        assert_eq!(told, [9, 8, 7, 2].into_iter().zip(states).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_listens_hears_of_new_looks_alone() {
        let live = Live::default();
        live.told(Look::Away);
        let mut heard = live.listen();
        assert!(!heard.has_changed().unwrap());
        live.told(Look::Away);
        assert!(heard.has_changed().unwrap());
        assert_eq!(heard.borrow_and_update().number(), 2);
    }
}
