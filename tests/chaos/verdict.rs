//! Whether every promise was kept, once the faults have stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use common::adapter::folder::Durability;
use common::adapter::redis::RedisJobStore;
use common::adapter::store::UrlStore;
use common::job::record::{JobRecord, JobState};
use common::job::spec::ContentDigest;
use common::object_key;
use common::port::job_store::JobStore;
use common::port::object_store::ObjectStore;

use crate::load::{ATTEMPTS_MAX, CRASHES_MAX, Load, Planned};
use crate::world::World;

/// Longest list of wrongs that is told.
const TOLD_MAX: usize = 20;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    pub wrong: Vec<String>,
    lost: usize,
    twice: usize,
    stuck: usize,
    above: usize,
    ends: BTreeMap<&'static str, usize>,
    attempts: u32,
    crashes: u32,
    interruptions: u32,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends: Vec<_> = self.ends.iter().map(|(state, count)| format!("{count} {state}")).collect();
        write!(
            f,
            "{} lost, {} visible twice, {} stuck, {} above a maximum; {}; {} failed attempts, {} crashes, {} hand-backs",
            self.lost,
            self.twice,
            self.stuck,
            self.above,
            ends.join(", "),
            self.attempts,
            self.crashes,
            self.interruptions
        )
    }
}

/// Waits until everything has ended, at most for `calm`, and looks at every job.
pub async fn judge(world: &mut World, load: &Load, calm: Duration) -> Verdict {
    let store = world.deployment.job_store().unwrap();
    let objects = world.deployment.objects(Durability::Cached).await.unwrap();
    let (began, mut verdict) = (Instant::now(), Verdict::default());
    let mut open: BTreeSet<usize> = (0..load.jobs.len()).collect();
    let mut records = BTreeMap::new();
    while !open.is_empty() && began.elapsed() < calm {
        for index in open.clone() {
            match store.get(load.jobs[index].id).await {
                Ok(Some(record)) if record.is_over() => {
                    open.remove(&index);
                    records.insert(index, record);
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => {
                    open.remove(&index);
                    verdict.lost += 1;
                    verdict.say(format!("lost: {}", load.jobs[index].id));
                }
            }
        }
        world.revive();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    verdict.stuck = open.len();
    for index in open {
        verdict.say(format!("stuck: {:?}", store.get(load.jobs[index].id).await));
    }
    let settled = settled_attempts(&world.logs());
    for (index, record) in &records {
        verdict.look(&load.jobs[*index], record, &objects).await;
        if settled.get(&record.id.to_string()).is_some_and(|attempts| attempts.len() > 1) {
            verdict.twice += 1;
            verdict.say(format!("completed by several attempts: {record:?}"));
        }
    }
    verdict.empty(&store, began + calm).await;
    verdict
}

/// The attempts that say of themselves that they completed a job.
fn settled_attempts(logs: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut attempts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let value = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}="))?.1;
        Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
    };
    for line in logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains("settled")) {
        let (Some(job), Some(attempt)) = (value(line, "job"), value(line, "attempt")) else { continue };
        if value(line, "state").as_deref() == Some("completed") {
            attempts.entry(job).or_default().insert(attempt);
        }
    }
    attempts
}

impl Verdict {
    fn say(&mut self, wrong: String) {
        if self.wrong.len() < TOLD_MAX {
            self.wrong.push(wrong);
        }
    }

    async fn look(&mut self, planned: &Planned, record: &JobRecord, objects: &UrlStore) {
        *self.ends.entry(record.state.as_str()).or_default() += 1;
        self.attempts += record.attempts;
        self.crashes += record.crashes;
        self.interruptions += record.interruptions;
        if record.attempts > ATTEMPTS_MAX || record.crashes > CRASHES_MAX {
            self.above += 1;
            self.say(format!("above its maximum: {record:?}"));
        }
        let cancelled = record.state == JobState::Cancelled && planned.cancel_after.is_some();
        if record.state != planned.end && !cancelled {
            self.say(format!("ought to be {:?}: {record:?}", planned.end));
        }
        let visible = objects.list(&object_key::results(record.id), None, 1000).await.unwrap().objects;
        let stable = object_key::document(record.id, tests::noop::DOCUMENT);
        let is_visible = visible.iter().any(|object| object.key == stable);
        match &record.result {
            None if is_visible => {
                self.twice += 1;
                self.say(format!("visible without a result: {record:?}"));
            }
            None => {}
            Some(result) => {
                let own = record.lease_key().map(|key| object_key::attempt(&key)).unwrap_or_default();
                for key in [stable, format!("{own}{}", tests::noop::DOCUMENT)] {
                    let read = objects.read(&key, 1 << 20).await.map(|content| ContentDigest::of(&content));
                    if read != Ok(result.documents[0].sha256) {
                        self.twice += 1;
                        self.say(format!("not the settled attempt's document at {key}: {read:?}"));
                    }
                }
            }
        }
    }

    /// Nothing is left anywhere, or will be soon: a bell of a job that has ended stays in the outbox until the claim of a relay
    /// lapses that a silent queue gave no confirm.
    async fn empty(&mut self, store: &RedisJobStore, until: Instant) {
        let left = async || {
            let status = store.status().await.map_err(|error| format!("no status: {error}"))?;
            let jobs: u64 = status
                .depth
                .iter()
                .map(|lane| lane.ready + lane.scheduled + lane.retryable + lane.running)
                .sum();
            if jobs + status.outbox() + status.exports == 0 {
                Ok(())
            } else {
                Err(format!("left over: {status:?}"))
            }
        };
        while let Err(wrong) = left().await {
            if Instant::now() > until {
                // What is stuck was counted and told of.
                if self.stuck == 0 {
                    self.stuck += 1;
                    self.say(wrong);
                }
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
