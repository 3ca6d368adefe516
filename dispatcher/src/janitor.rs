//! What the store keeps too long: uploads nobody used for a week, halves of uploads after a day, results after a month
//! (contract, section 7).

use std::time::{Duration, UNIX_EPOCH};

use common::clock::{Clock, Timestamp};
use common::object_key;
use common::port::object_store::{ObjectInfo, ObjectStore, PAGE_OBJECTS_MAX, StoreError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Uploads whose digest never came to be known.
const HALVES: Duration = DAY;
/// Uploads, after they were last named by a submission.
const UPLOADS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Results, after they were written.
const RESULTS: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time between two looks at the whole store.
const EVERY: Duration = Duration::from_secs(3600);
/// Time before the first look, so that a process that is started again and again does not look each time.
const FIRST: Duration = Duration::from_secs(300);

/// How long an object is kept; for ever when nothing is said about it.
fn kept(key: &str) -> Option<Duration> {
    // The halves lie inside the inbox.
    [(object_key::INBOX_TMP, HALVES), (object_key::INBOX, UPLOADS), (object_key::RESULTS, RESULTS)]
        .into_iter()
        .find(|(prefix, _)| key.starts_with(prefix))
        .map(|(_, length)| length)
}

/// Whether an object's time is over. A store that does not tell when it was written keeps it.
fn is_over(key: &str, info: &ObjectInfo, now: Timestamp) -> bool {
    let written = info.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let written = written.map(|since| Timestamp::from_millis(0).plus(since));
    kept(key).zip(written).is_some_and(|(length, written)| now.since(written) > length)
}

/// Looks at everything that has its time and removes what is over; gives how many.
async fn pass(
    objects: &impl ObjectStore,
    now: Timestamp,
    stop: &CancellationToken,
) -> Result<usize, StoreError> {
    let mut removed = 0;
    for prefix in [object_key::INBOX, object_key::RESULTS] {
        let mut after = None;
        loop {
            let page = objects.list(prefix, after.as_deref(), PAGE_OBJECTS_MAX).await?;
            for listed in page.objects.iter().filter(|listed| is_over(&listed.key, &listed.info, now)) {
                objects.delete(&listed.key).await?;
                removed += 1;
            }
            match page.next {
                Some(next) if !stop.is_cancelled() => after = Some(next),
                _ => break,
            }
        }
    }
    Ok(removed)
}

/// Keeps the store in order until told to stop. Several processes may do so: removing is done twice without harm.
pub async fn run(objects: impl ObjectStore, clock: impl Clock, stop: CancellationToken) {
    let mut outage = Outage::new("janitor");
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = EVERY;
        match pass(&objects, clock.now(), &stop).await {
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
    use std::time::SystemTime;

    use common::adapter::folder::{Durability, FolderStore};
    use common::port::object_store::PutOptions;

    use super::*;

    #[tokio::test]
    async fn what_is_over_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let objects = FolderStore::open(folder.path().to_owned(), Durability::Cached).await.unwrap();
        let now = Timestamp::from_millis(1_800_000_000_000);
        let hour = Duration::from_secs(3600);
        let all = [
            ("inbox/tmp/a", HALVES, true),
            ("inbox/b.wav", UPLOADS, true),
            ("results/j/segments.json", RESULTS, true),
            ("bundles/starter/1/manifest.json", RESULTS, false),
            ("speakers/starter/ann.json", RESULTS, false),
        ];
        let mut left = Vec::new();
        for (key, length, goes) in all {
            for (name, age, over) in [("old", length + hour, goes), ("new", length - hour, false)] {
                let key = format!("{key}-{name}");
                objects.put(&key, b"x".as_slice().into(), &PutOptions::default()).await.unwrap();
                let written = UNIX_EPOCH + Duration::from_millis(now.as_millis()) - age;
                set_written(folder.path(), &key, written);
                if !over {
                    left.push(key);
                }
            }
        }
        let stop = CancellationToken::new();
        assert_eq!(pass(&objects, now, &stop).await.unwrap(), 3);
        assert_eq!(pass(&objects, now, &stop).await.unwrap(), 0);
        let page = objects.list("", None, 100).await.unwrap();
        let mut there: Vec<_> = page.objects.into_iter().map(|listed| listed.key).collect();
        there.sort();
        left.sort();
        assert_eq!(there, left);
    }

    fn set_written(folder: &std::path::Path, key: &str, at: SystemTime) {
        File::options().write(true).open(folder.join(key)).unwrap().set_modified(at).unwrap();
    }
}
