//! Telling others that a job is over: from the outbox, signed, again and again until it is taken or given up.
//!
//! A job's end makes its webhook due in the same step that ends it, so a process that dies in between loses nothing; a
//! delivery whose answer was lost is repeated, so whoever is told may be told twice and knows the job by its id.

mod post;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::job::record::JobRecord;
use common::port::job_store::{JobStore, StoreResult, WebhookAnswer, WebhookDue, WebhookOutcome};
use common::random::Random;
use common::reach::{Place, Reach};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::settings::Secret;
use crate::wire::record::RecordDocument;

pub use post::Post;

/// Deliveries at a time.
const AT_ONCE: usize = 16;
/// How long a delivery is hidden from other processes: above the longest that one may take ([`post::PATIENCE`]).
const CLAIM: Duration = Duration::from_secs(30);
/// Pause after a look that found nothing.
const IDLE: Duration = Duration::from_millis(250);
/// Pause after a look that failed.
const FAILED: Duration = Duration::from_secs(1);
/// Wait after the first try that was not taken; doubled up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Tries before a delivery is given up: about nine hours.
const TRIES_MAX: u32 = 20;

/// The body of a webhook.
#[derive(Debug, Serialize)]
struct WebhookDocument<'a> {
    /// `job.completed`, `job.discarded` or `job.cancelled`.
    event: String,
    job: RecordDocument<'a>,
}

/// What delivers.
pub struct Teller {
    /// What may be told.
    pub reach: Reach,
    /// Signs.
    pub secret: Secret,
    /// The way out.
    pub post: Post,
    /// When it is.
    pub clock: Arc<dyn Clock>,
    /// Spreads repetitions.
    pub random: Arc<dyn Random>,
}

/// What follows from an answer to the `tries`-th try.
fn judged(answer: &WebhookAnswer, tries: u32, unit: f64) -> WebhookOutcome {
    match answer.status {
        Some(200..=299) => WebhookOutcome::Done,
        // Gone for good, by its own word.
        Some(410) => WebhookOutcome::GivenUp,
        _ if tries >= TRIES_MAX => WebhookOutcome::GivenUp,
        _ => {
            let wait = WAIT_FIRST.saturating_mul(1 << (tries - 1).min(20)).min(WAIT_MAX);
            // Half of it at least, so that those who failed together do not come back together.
            WebhookOutcome::Again { after: wait.mul_f64(0.5 + 0.5 * unit) }
        }
    }
}

/// The body that tells of a job's end.
fn body(record: &JobRecord) -> String {
    let event = format!("job.{}", record.state.as_str());
    serde_json::to_string(&WebhookDocument { event, job: RecordDocument::new(record) })
        .expect("texts and numbers always have a JSON form")
}

impl Teller {
    async fn tell(&self, due: &WebhookDue) -> (WebhookOutcome, WebhookAnswer) {
        let url = due.record.spec.callback_url.as_deref().unwrap_or_default();
        let place = self.reach.place(url);
        if !matches!(place, Place::Web | Place::Allowed) {
            let detail = "the address may not be told any more".to_owned();
            return (WebhookOutcome::GivenUp, WebhookAnswer { status: None, detail });
        }
        let body = body(&due.record);
        let signature = sign::header(&self.secret.0, self.clock.now(), &body);
        let answer = self.post.post(url, place == Place::Allowed, signature, body).await;
        (judged(&answer, due.tries + 1, self.random.unit()), answer)
    }

    /// Delivers what is due; gives how many were tried.
    async fn pass<J: JobStore>(&self, jobs: &J) -> StoreResult<usize> {
        let due = jobs.claim_webhooks(AT_ONCE, CLAIM).await?;
        let tried = due.len();
        let told = stream::iter(due).map(|due| async move {
            let (outcome, answer) = self.tell(&due).await;
            if outcome != WebhookOutcome::Done {
                let status = answer.status;
                tracing::warn!(job = %due.record.id, status, detail = answer.detail, ?outcome, "a webhook was not taken");
            }
            jobs.finish_webhook(due.record.id, outcome, answer).await
        });
        let ended: Vec<StoreResult<()>> = told.buffer_unordered(AT_ONCE).collect().await;
        ended.into_iter().collect::<StoreResult<()>>()?;
        Ok(tried)
    }

    /// Delivers until told to stop.
    pub async fn run<J: JobStore>(self, jobs: J, stop: CancellationToken) {
        let mut outage = Outage::new("webhooks");
        while !stop.is_cancelled() {
            let pause = match self.pass(&jobs).await {
                Ok(0) => IDLE,
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    outage.failed(&error);
                    FAILED
                }
            };
            if pause < FAILED {
                outage.over();
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_it_is_given_up() {
        let answer = |status| WebhookAnswer { status, detail: String::new() };
        let after = |tries, unit| match judged(&answer(Some(500)), tries, unit) {
            WebhookOutcome::Again { after } => after.as_secs_f64(),
            other => panic!("{other:?}"),
        };
        assert_eq!((after(1, 1.0), after(2, 1.0), after(5, 1.0)), (1.0, 2.0, 16.0));
        assert_eq!((after(5, 0.0), after(13, 1.0), after(19, 1.0)), (8.0, 3600.0, 3600.0));
        assert_eq!(judged(&answer(None), TRIES_MAX, 0.0), WebhookOutcome::GivenUp);
        for (status, outcome) in
            [(200, WebhookOutcome::Done), (299, WebhookOutcome::Done), (410, WebhookOutcome::GivenUp)]
        {
            assert_eq!(judged(&answer(Some(status)), 1, 0.0), outcome);
        }
        for status in [301, 400, 404, 429, 503] {
            assert!(
                matches!(judged(&answer(Some(status)), 1, 0.0), WebhookOutcome::Again { .. }),
                "{status}"
            );
        }
        assert!(matches!(judged(&answer(None), 1, 0.0), WebhookOutcome::Again { .. }));
    }
}
