//! The jobs of a run: what each is, when it comes, how it ought to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::adapter::folder::Durability;
use common::fleet::relay::{self, RelayRules};
use common::job::id::JobId;
use common::job::lane::Lane;
use common::job::record::JobState;
use common::job::spec::{ContentDigest, JobSpec, Limits, SourceRef};
use common::object_key;
use common::port::job_store::{Inserted, JobStore, NewJob};
use common::port::object_store::{ObjectStore, PutOptions};
use tests::fleet::{Deployment, job_id};
use tests::noop::{END, WELL_FROM, WORK_MS};
use tests::sim::dice::Dice;

use crate::world::World;

/// Crashes that a job may have: far more than a run brings.
pub const CRASHES_MAX: u32 = 1000;
/// Failed attempts that a job may have.
pub const ATTEMPTS_MAX: u32 = 5;
/// Submissions under way at once.
const AT_ONCE: usize = 16;

/// One job.
#[derive(Debug, Clone)]
pub struct Planned {
    pub id: JobId,
    pub spec: JobSpec,
    /// How it ends unless it is cancelled.
    pub end: JobState,
    /// When somebody wants it stopped, counted from its submission.
    pub cancel_after: Option<Duration>,
}

/// Every job of a run; clones share them.
#[derive(Debug, Clone)]
pub struct Load {
    pub jobs: Arc<[Planned]>,
}

impl Load {
    /// Uploads what the jobs read and decides what each does.
    pub async fn plan(world: &World, jobs: usize, seed: u64) -> Self {
        let objects = world.deployment.objects(Durability::Cached).await.unwrap();
        let content: Vec<u8> = (0..20_000_u32).map(|n| (n % 253) as u8).collect();
        let digest = ContentDigest::of(&content);
        let (key, bytes) = (object_key::inbox(&digest, "bin"), content.len() as u64);
        objects.put(&key, content.into(), &PutOptions::default()).await.unwrap();
        let uri = format!("{}/{key}", world.deployment.store_url);
        let audio = SourceRef { uri, sha256: Some(digest), bytes: Some(bytes), duration: None };
        let mut dice = Dice::new(seed ^ 0x10ad);
        Self { jobs: (0..jobs).map(|_| planned(&mut dice, &audio)).collect() }
    }

    /// Submits every job, evenly over `spread`, whatever happens to the servers meanwhile; and cancels some.
    pub async fn submit(&self, deployment: &Deployment, spread: Duration) {
        let (began, count) = (Instant::now(), self.jobs.len());
        let mut submitting = tokio::task::JoinSet::new();
        let (store, broker) = (deployment.job_store().unwrap(), deployment.broker().unwrap());
        for first in 0..AT_ONCE {
            let (jobs, store, broker) = (Arc::clone(&self.jobs), store.clone(), broker.clone());
            submitting.spawn(async move {
                let mut cancels = Vec::new();
                for index in (first..count).step_by(AT_ONCE) {
                    let job = &jobs[index];
                    let due = spread.mul_f64(index as f64 / count as f64);
                    tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
                    let new = NewJob { force: true, ..NewJob::new(job.id, job.spec.clone()) };
                    surely(
                        || store.insert(new.clone()),
                        |answer| {
                            assert!(matches!(answer, Inserted::Accepted(_)), "{answer:?}");
                        },
                    )
                    .await;
                    // A submitter rings too. Should it not succeed, a worker does it.
                    let _ = tokio::time::timeout(
                        Duration::from_millis(500),
                        relay::pass_all(&store, &broker, &RelayRules { batch: 8, ..RelayRules::default() }),
                    )
                    .await;
                    if let Some(after) = job.cancel_after {
                        let (store, id) = (store.clone(), job.id);
                        cancels.push(tokio::spawn(async move {
                            tokio::time::sleep(after).await;
                            surely(|| store.request_cancel(id), |answer| assert!(answer.is_some())).await;
                        }));
                    }
                }
                for cancel in cancels {
                    cancel.await.unwrap();
                }
            });
        }
        while let Some(done) = submitting.join_next().await {
            done.unwrap();
        }
    }
}

/// Repeats a step until it is answered.
async fn surely<T, F>(step: impl Fn() -> F, check: impl Fn(T))
where
    F: Future<Output = common::port::job_store::StoreResult<T>>,
{
    loop {
        match step().await {
            Ok(answer) => return check(answer),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn planned(dice: &mut Dice, audio: &SourceRef) -> Planned {
    let mut spec = JobSpec::diarize(audio.clone());
    spec.lane = Lane::ALL[dice.below(3) as usize];
    spec.limits = Limits { attempts_max: ATTEMPTS_MAX, crashes_max: CRASHES_MAX, ..Limits::default() };
    let work_ms = if dice.below(20) == 0 { 1000 + dice.below(4000) } else { dice.below(150) };
    let mut tag = |name: &str, value: String| spec.tags.insert(name.to_owned(), value);
    tag(WORK_MS, work_ms.to_string());
    let mut end = JobState::Completed;
    match dice.below(50) {
        0 => {
            tag(END, "permanent".to_owned());
            end = JobState::Discarded;
        }
        1..=3 => {
            tag(END, "retryable".to_owned());
            tag(WELL_FROM, "2".to_owned());
        }
        _ => {}
    }
    let cancel_after = (dice.below(30) == 0).then(|| Duration::from_millis(dice.below(2000)));
    Planned { id: job_id(), spec, end, cancel_after }
}
