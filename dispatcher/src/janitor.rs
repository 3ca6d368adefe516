//! What the store keeps too long: uploads nobody used for a week, halves of uploads after a day, results after a month
//! (contract, section 7).
//!
//! Invariants: ages are told by the store's own clock, the one that dated the objects; and what a job that has not ended
//! names, or one that may be tried again, stays, however long the job waits.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use common::clock::{Clock as _, SystemClock, Timestamp};
use common::job::id::JobId;
use common::job::record::{JobRecord, JobState};
use common::job::spec::{JobKind, SourceRef};
use common::object_key;
use common::port::job_store::{JobFilter, JobStore, JobStoreError, LIST_MAX};
use common::port::object_store::{ObjectInfo, ObjectStore, PAGE_OBJECTS_MAX, PutOptions, StoreError};
use common::random::{OsRandom, Random as _};
use common::reach::StoreUrl;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::submit::upload::MARK_AFTER;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Uploads whose digest never came to be known.
const HALVES: Duration = DAY;
/// Uploads, after they were last named by a submission: seven days, and as long as a submission leaves the mark of an earlier
/// one.
const UPLOADS: Duration = Duration::from_secs(7 * 24 * 3600).saturating_add(MARK_AFTER);
/// Results, after they were written.
const RESULTS: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time between two looks at the whole store.
const EVERY: Duration = Duration::from_secs(3600);
/// Time before the first look, so that a process that is started again and again does not look each time.
const FIRST: Duration = Duration::from_secs(300);
/// Most uploads that one look considers: their keys are held meanwhile, about a hundred bytes each. The next look goes on.
const UPLOADS_MAX: usize = 100_000;

/// Why a look broke off; the next one is in an hour.
#[derive(Debug, thiserror::Error)]
enum JanitorError {
    /// The store of the objects.
    #[error(transparent)]
    Objects(#[from] StoreError),
    /// The store of the jobs that may need them.
    #[error(transparent)]
    Jobs(#[from] JobStoreError),
}

/// How long an object is kept; for ever when nothing is said about it.
fn kept(key: &str) -> Option<Duration> {
    // The halves lie inside the inbox.
    [(object_key::INBOX_TMP, HALVES), (object_key::INBOX, UPLOADS), (object_key::RESULTS, RESULTS)]
        .into_iter()
        .find(|(prefix, _)| key.starts_with(prefix))
        .map(|(_, length)| length)
}

/// When an object was written, by the store's clock.
fn written(info: &ObjectInfo) -> Option<Timestamp> {
    let since = info.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map(|since| Timestamp::from_millis(0).plus(since))
}

/// Whether an object's time is over. A store that does not tell when it was written keeps it.
fn is_over(key: &str, info: &ObjectInfo, now: Timestamp) -> bool {
    kept(key).zip(written(info)).is_some_and(|(length, written)| now.since(written) > length)
}

/// Whether jobs may need what is at a key.
fn is_upload(key: &str) -> bool {
    key.starts_with(object_key::INBOX) && !key.starts_with(object_key::INBOX_TMP)
}

/// What time it is by the clock that dates the objects: that of an object written now. `None` where the store does not
/// tell.
async fn store_time(objects: &impl ObjectStore) -> Result<Option<Timestamp>, StoreError> {
    // Only a name; should removing it fail, it goes with the halves.
    let probe = object_key::inbox_upload(JobId::new(SystemClock::new().now(), OsRandom.bytes()));
    objects.put(&probe, b"now".as_slice().into(), &PutOptions::default()).await?;
    let info = objects.head(&probe).await?;
    objects.delete(&probe).await?;
    Ok(written(&info))
}

/// Every object that a job reads.
fn sources(record: &JobRecord) -> impl Iterator<Item = &SourceRef> {
    let more: &[SourceRef] = match &record.spec.kind {
        JobKind::Enroll { more, .. } => more,
        JobKind::Diarize => &[],
    };
    [&record.spec.audio].into_iter().chain(more).chain(&record.spec.options.transcript)
}

/// Takes what jobs name that have not ended, or may be tried again, out of `keys`; `false` when not every such job could be
/// read.
async fn spare(
    keys: &mut BTreeSet<String>,
    jobs: &impl JobStore,
    place: &StoreUrl,
    stop: &CancellationToken,
) -> Result<bool, JobStoreError> {
    let of = |state| JobFilter { state: Some(state), ..JobFilter::default() };
    let unfinished = JobFilter { unfinished: true, ..JobFilter::default() };
    for filter in [unfinished, of(JobState::Discarded), of(JobState::Cancelled)] {
        let mut before = None;
        loop {
            if stop.is_cancelled() {
                return Ok(false);
            }
            let page = jobs.list(JobFilter { limit: LIST_MAX / 10, before, ..filter.clone() }).await?;
            if page.unreadable > 0 {
                return Ok(false);
            }
            for source in page.jobs.iter().flat_map(sources) {
                if let Some(key) = place.key(&source.uri) {
                    keys.remove(key);
                }
            }
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
    }
    Ok(true)
}

/// Looks at everything that has its time and removes what is over; gives how many.
async fn pass(
    (jobs, objects): (&impl JobStore, &impl ObjectStore),
    place: &StoreUrl,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<usize, JanitorError> {
    let (mut removed, mut uploads) = (0, BTreeSet::new());
    for prefix in [object_key::INBOX, object_key::RESULTS] {
        let mut after = None;
        loop {
            let page = objects.list(prefix, after.as_deref(), PAGE_OBJECTS_MAX).await?;
            for listed in page.objects.iter().filter(|listed| is_over(&listed.key, &listed.info, now)) {
                if stop.is_cancelled() {
                    return Ok(removed);
                }
                if !is_upload(&listed.key) {
                    objects.delete(&listed.key).await?;
                    removed += 1;
                } else if uploads.len() < UPLOADS_MAX {
                    uploads.insert(listed.key.clone());
                }
            }
            match page.next {
                Some(next) if !stop.is_cancelled() => after = Some(next),
                _ => break,
            }
        }
    }
    if !uploads.is_empty() && !spare(&mut uploads, jobs, place, stop).await? {
        tracing::warn!("not every job that has not ended can be read; uploads are kept");
        return Ok(removed);
    }
    for key in uploads {
        if stop.is_cancelled() {
            break;
        }
        // A submission marks what it names before it is recorded: who came since the jobs were looked at is seen here. What
        // is left is the moment between these two lines; a job that fell into it fails for its missing source.
        match objects.head(&key).await {
            Ok(info) if is_over(&key, &info, now) => {
                objects.delete(&key).await?;
                removed += 1;
            }
            Ok(_) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(removed)
}

/// Keeps the store in order until told to stop. Several processes may do so: removing is done twice without harm.
pub async fn run(jobs: impl JobStore, objects: impl ObjectStore, place: StoreUrl, stop: CancellationToken) {
    let mut outage = Outage::new("janitor");
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = EVERY;
        let looked = match store_time(&objects).await {
            Ok(Some(now)) => pass((&jobs, &objects), &place, now, &stop).await,
            Ok(None) => Ok(0),
            Err(error) => Err(error.into()),
        };
        match looked {
            Ok(0) => outage.over(),
            Ok(removed) => {
                outage.over();
                tracing::info!(removed, "objects whose time was over are removed");
            }
            Err(error) => outage.failed(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;

    use common::adapter::folder::{Durability, FolderStore};
    use common::adapter::memory::job_store::MemoryJobStore;
    use common::job::spec::JobSpec;
    use common::port::job_store::{NewJob, StoreRules};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    struct Bench {
        folder: tempfile::TempDir,
        objects: FolderStore,
        jobs: MemoryJobStore,
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let objects = FolderStore::open(folder.path().to_owned(), Durability::Cached).await.unwrap();
            let jobs = MemoryJobStore::new(Arc::new(SystemClock::new()), StoreRules::default());
            Self { folder, objects, jobs }
        }

        async fn put(&self, key: &str, age: Duration) {
            self.objects.put(key, b"x".as_slice().into(), &PutOptions::default()).await.unwrap();
            let at = UNIX_EPOCH + Duration::from_millis(NOW.as_millis()) - age;
            set_written(self.folder.path(), key, at);
        }

        async fn insert(&self, n: u8, spec: JobSpec, delay: Duration) -> JobId {
            let id = JobId::new(NOW, [n; 16]);
            self.jobs.insert(NewJob { delay, ..NewJob::new(id, spec) }).await.unwrap();
            id
        }

        async fn pass(&self) -> usize {
            let place = StoreUrl::new("s3://bucket/fleet");
            pass((&self.jobs, &self.objects), &place, NOW, &CancellationToken::new()).await.unwrap()
        }

        async fn keys(&self) -> Vec<String> {
            let page = self.objects.list("", None, 100).await.unwrap();
            page.objects.into_iter().map(|listed| listed.key).collect()
        }
    }

    fn set_written(folder: &Path, key: &str, at: SystemTime) {
        File::options().write(true).open(folder.join(key)).unwrap().set_modified(at).unwrap();
    }

    #[tokio::test]
    async fn what_is_over_goes_and_nothing_else() {
        let bench = Bench::new().await;
        let all = [
            ("inbox/tmp/a", HALVES, true),
            ("inbox/b.wav", UPLOADS, true),
            ("results/j/segments.json", RESULTS, true),
            ("bundles/starter/1/manifest.json", RESULTS, false),
            ("speakers/starter/ann.json", RESULTS, false),
            ("calls/a.wav", RESULTS, false),
        ];
        let mut left = Vec::new();
        for (key, length, goes) in all {
            for (name, age, over) in [("old", length + HOUR, goes), ("new", length - HOUR, false)] {
                let key = format!("{key}-{name}");
                bench.put(&key, age).await;
                if !over {
                    left.push(key);
                }
            }
        }
        assert_eq!(bench.pass().await, 3);
        assert_eq!(bench.pass().await, 0);
        left.sort();
        assert_eq!(bench.keys().await, left);
    }

    #[tokio::test]
    async fn what_a_job_still_needs_stays() {
        let bench = Bench::new().await;
        for name in ["late", "text", "first", "more", "stopped", "nobody"] {
            bench.put(&format!("inbox/{name}.wav"), UPLOADS + HOUR).await;
        }
        let at = |name: &str| SourceRef::at(format!("s3://bucket/fleet/inbox/{name}.wav"));
        let mut late = JobSpec::diarize(at("late"));
        late.options.transcript = Some(at("text"));
        bench.insert(1, late, UPLOADS * 2).await;
        bench.insert(2, JobSpec::enroll("Ada", at("first"), vec![at("more")]), Duration::ZERO).await;
        let stopped = bench.insert(3, JobSpec::diarize(at("stopped")), Duration::ZERO).await;
        bench.jobs.request_cancel(stopped).await.unwrap();
        assert_eq!(bench.pass().await, 1);
        bench.jobs.purge(stopped).await.unwrap();
        let left = ["first", "late", "more", "stopped", "text"].map(|name| format!("inbox/{name}.wav"));
        assert_eq!(bench.keys().await, left);
        assert_eq!(bench.pass().await, 1, "nobody can try again what is forgotten");
        let left = ["first", "late", "more", "text"].map(|name| format!("inbox/{name}.wav"));
        assert_eq!(bench.keys().await, left);
    }

    #[tokio::test]
    async fn the_time_is_the_stores() {
        let bench = Bench::new().await;
        let before = SystemClock::new().now();
        let now = store_time(&bench.objects).await.unwrap().unwrap();
        assert!(now.plus(HOUR) > before && before.plus(HOUR) > now, "this folder's clock is this machine's");
        assert_eq!(bench.keys().await, Vec::<String>::new());
    }
}
