//! Telling others that a job is over: from the outbox, signed, again and again until it is taken or given up.
//!
//! A job's end makes its webhook due in the same step that ends it, so a process that dies in between loses nothing; a
//! delivery whose answer was lost is repeated, so whoever is told may be told twice and knows the job by its id.

mod post;
mod round;
mod sign;

use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use common::job::record::JobRecord;
use common::port::job_store::{JobStore, StoreResult, WebhookAnswer, WebhookDue, WebhookOutcome};
use common::random::Random;
use common::reach::{Place, Reach};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::settings::Secret;
use crate::wire::record::RecordDocument;

pub use post::Post;

use post::Posted;
use round::Round;

/// How long a delivery is hidden from other processes: above the longest that one may wait here and take
/// ([`post::PATIENCE`]).
const CLAIM: Duration = Duration::from_secs(30);
/// Pause after a look that found nothing, or only more for those who are busy.
const IDLE: Duration = Duration::from_millis(250);
/// Pause after a look that failed.
const FAILED: Duration = Duration::from_secs(1);
/// Wait after the first try that was not taken; doubled up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Tries before a delivery is given up. The waits between them are together at least 4 and at most 8.1 hours, 6.1 on
/// average.
const TRIES_MAX: u32 = 20;
/// How long deliveries under way may go on once the process is told to stop. What is cut off is told again.
const LAST: Duration = Duration::from_secs(10);

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

/// What follows from the `tries`-th try.
fn judged(posted: &Posted, tries: u32, unit: f64) -> WebhookOutcome {
    match posted.answer.status {
        Some(200..=299) => WebhookOutcome::Done,
        // Gone for good, by its own word.
        Some(410) => WebhookOutcome::GivenUp,
        _ if posted.hopeless || tries >= TRIES_MAX => WebhookOutcome::GivenUp,
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
        let posted = self.post.post(url, place == Place::Allowed, signature, body).await;
        (judged(&posted, due.tries + 1, self.random.unit()), posted.answer)
    }

    /// Tries to deliver, and says what became of it.
    async fn deliver<J: JobStore>(&self, jobs: &J, due: &WebhookDue) -> StoreResult<()> {
        let (outcome, answer) = self.tell(due).await;
        if outcome != WebhookOutcome::Done {
            let status = answer.status;
            tracing::warn!(job = %due.record.id, status, detail = answer.detail, ?outcome, "a webhook was not taken");
        }
        jobs.finish_webhook(due.claim, outcome, answer).await
    }

    /// Delivers until told to stop.
    pub async fn run<J: JobStore>(self, jobs: J, stop: CancellationToken) {
        let teller = Arc::new(self);
        let (mut outage, mut round) = (Outage::new("webhooks"), Round::default());
        let mut running: JoinSet<(String, StoreResult<()>)> = JoinSet::new();
        let mut look = std::pin::pin!(sleep(Duration::ZERO));
        loop {
            while let Some((host, due)) = round.next(teller.clock.monotonic()) {
                let (teller, jobs) = (Arc::clone(&teller), jobs.clone());
                running.spawn(async move { (host, teller.deliver(&jobs, &due).await) });
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = running.join_next() => match ended {
                    Ok((host, told)) => {
                        round.ended(&host);
                        told.unwrap_or_else(|error| outage.failed(&error));
                    }
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                () = look.as_mut(), if round.wants() > 0 => {
                    let pause = match jobs.claim_webhooks(round.wants(), CLAIM).await {
                        Ok(due) => {
                            outage.over();
                            let pause = if due.is_empty() || round.is_waiting() { IDLE } else { Duration::ZERO };
                            round.claimed(due, teller.clock.monotonic());
                            pause
                        }
                        Err(error) => {
                            outage.failed(&error);
                            FAILED
                        }
                    };
                    look.as_mut().reset(Instant::now() + pause);
                }
            }
        }
        // What is cut off here is told again by the next process.
        let _ = timeout(LAST, async { while running.join_next().await.is_some() {} }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use common::adapter::memory::job_store::MemoryJobStore;
    use common::adapter::web::{Dial, Dialling, Pipe};
    use common::clock::{SystemClock, Timestamp};
    use common::job::id::JobId;
    use common::job::spec::{JobSpec, SourceRef};
    use common::port::job_store::{NewJob, StoreRules};
    use common::random::OsRandom;
    use common::reach::StoreUrl;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn waits_double_until_it_is_given_up() {
        let answer =
            |status| Posted { answer: WebhookAnswer { status, detail: String::new() }, hopeless: false };
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
        let hopeless = Posted { hopeless: true, ..answer(None) };
        assert_eq!(judged(&hopeless, 1, 0.0), WebhookOutcome::GivenUp);
        let total = |unit| (1..TRIES_MAX).map(|tries| after(tries, unit)).sum::<f64>() / 3600.0;
        assert!((total(0.0) - 4.07).abs() < 0.01 && (total(1.0) - 8.14).abs() < 0.01, "{}", total(1.0));
    }

    /// Hosts whose name begins with `slow` are never reached; the others take everything.
    struct Net {
        told: Mutex<Vec<String>>,
    }

    impl Dial for Net {
        fn dial<'a>(&'a self, uri: &'a hyper::Uri) -> Dialling<'a> {
            Box::pin(async move {
                let host = uri.host().unwrap_or_default();
                if host.starts_with("slow") {
                    return std::future::pending().await;
                }
                self.told.lock().unwrap().push(host.to_owned());
                let (ours, mut theirs) = tokio::io::duplex(1 << 16);
                tokio::spawn(async move {
                    let mut asked = [0; 1024];
                    let _ = theirs.read(&mut asked).await;
                    let _ = theirs.write_all(b"HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n").await;
                    // Held until the other side goes.
                    let _ = theirs.read(&mut asked).await;
                });
                Ok(Box::new(ours) as Box<dyn Pipe>)
            })
        }
    }

    async fn ended(jobs: &MemoryJobStore, n: u8, url: &str) {
        let mut spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        spec.callback_url = Some(url.to_owned());
        let id = JobId::new(Timestamp::from_millis(n.into()), [n; 16]);
        jobs.insert(NewJob::new(id, spec)).await.unwrap();
        jobs.request_cancel(id).await.unwrap();
    }

    #[tokio::test]
    async fn hosts_that_never_answer_hold_nobody_up() {
        let jobs = MemoryJobStore::new(Arc::new(SystemClock::new()), StoreRules::default());
        for n in 0..100 {
            ended(&jobs, n, &format!("https://slow{}.example/", n % 2)).await;
        }
        ended(&jobs, 100, "https://quick.example/").await;
        let net = Arc::new(Net { told: Mutex::default() });
        let teller = Teller {
            reach: Reach::new(StoreUrl::new("s3://b"), vec![]),
            secret: Secret("s".to_owned()),
            post: Post::over(net.clone()),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(OsRandom),
        };
        let stop = CancellationToken::new();
        let telling = tokio::spawn(teller.run(jobs.clone(), stop.clone()));
        let delivered = async {
            while jobs.deliveries(1).await.unwrap().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Far less than it takes to give up on those who do not answer.
        timeout(post::PATIENCE / 2, delivered).await.unwrap();
        assert_eq!(*net.told.lock().unwrap(), ["quick.example"]);
        stop.cancel();
        telling.abort();
    }
}
