//! Which bundle a job will meet: what the workers alive say, and what the store holds.

use common::job::worker::WorkerSeen;
use common::object_key;
use common::port::object_store::{ObjectStore, StoreError};

use super::error::SubmitError;
use crate::command::error::FleetError;

/// What can be told of the bundle before a worker has the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// `NAME@VERSION`, when there is only one possibility: under it the cache is asked.
    pub version: Option<String>,
    /// Whether a worker alive has what was asked for.
    pub is_alive: bool,
}

/// What the workers alive say about a job that asks for `wish`; `None` asks for whatever is loaded.
#[must_use]
pub fn expected(workers: &[WorkerSeen], wish: Option<&str>) -> Expected {
    let mut loaded: Vec<_> = workers
        .iter()
        .filter(|worker| {
            wish.is_none_or(|wish| is_asked_for(&worker.info.bundle, &worker.info.version, wish))
        })
        .map(|worker| format!("{}@{}", worker.info.bundle, worker.info.version))
        .collect();
    loaded.sort_unstable();
    loaded.dedup();
    let is_alive = !loaded.is_empty();
    let said = wish.filter(|wish| !is_alive && wish.contains('@') && !wish.contains('/'));
    let only = (loaded.len() == 1).then(|| loaded.swap_remove(0));
    Expected { version: only.or_else(|| said.map(str::to_owned)), is_alive }
}

fn is_asked_for(bundle: &str, version: &str, wish: &str) -> bool {
    match wish.split_once('@') {
        Some((name, asked)) => name == bundle && asked == version,
        None => wish == bundle,
    }
}

/// Refuses a bundle that no worker alive has loaded and that does not lie in the store. While no worker is alive
/// anything may come, and an address is for the workers to judge.
///
/// # Errors
/// [`SubmitError::UnknownBundle`], and what the store says.
pub async fn check(
    objects: &impl ObjectStore,
    workers: &[WorkerSeen],
    wish: &str,
) -> Result<(), SubmitError> {
    if workers.is_empty() || wish.contains('/') || expected(workers, Some(wish)).is_alive {
        return Ok(());
    }
    let key = match wish.split_once('@') {
        Some((name, version)) => object_key::bundle_manifest(name, version),
        None => object_key::bundle_latest(wish),
    };
    match objects.head(&key).await {
        Ok(_) => Ok(()),
        Err(StoreError::NotFound { .. } | StoreError::Rejected { .. }) => {
            let mut known: Vec<_> =
                workers.iter().map(|w| format!("`{}@{}`", w.info.bundle, w.info.version)).collect();
            known.sort_unstable();
            known.dedup();
            Err(SubmitError::UnknownBundle { bundle: wish.to_owned(), known })
        }
        Err(error) => Err(FleetError::of_store(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::adapter::memory::object_store::MemoryStore;
    use common::job::worker::{WorkerId, WorkerInfo};
    use common::port::object_store::PutOptions;
    use common::port::object_store::content::Content;

    use super::*;

    fn worker(bundle: &str, version: &str) -> WorkerSeen {
        let info = WorkerInfo {
            id: WorkerId::new("h", [0; 16]),
            host: "h".to_owned(),
            device: "cpu".to_owned(),
            device_name: "x".to_owned(),
            bundle: bundle.to_owned(),
            version: version.to_owned(),
            jobs: 0,
            slots: 1,
            audio_s_per_s: 0.0,
            capacity: None,
            draining: false,
        };
        WorkerSeen { info, last_seen: Duration::ZERO }
    }

    #[test]
    fn the_cache_is_asked_only_when_the_bundle_is_certain() {
        let version = |workers: &[WorkerSeen], wish| expected(workers, wish).version;
        let same = [worker("starter", "1"), worker("starter", "1")];
        assert_eq!(version(&same, None).as_deref(), Some("starter@1"));
        assert_eq!(version(&same, Some("starter")).as_deref(), Some("starter@1"));
        assert_eq!(version(&same, Some("starter@2")).as_deref(), Some("starter@2"));
        assert_eq!(version(&same, Some("other")), None);
        let mixed = [worker("starter", "1"), worker("starter", "2"), worker("best", "1")];
        assert_eq!(version(&mixed, None), None);
        assert_eq!(version(&mixed, Some("starter")), None);
        assert_eq!(version(&mixed, Some("best")).as_deref(), Some("best@1"));
        assert_eq!(version(&[], None), None);
        assert_eq!(version(&[], Some("best@1")).as_deref(), Some("best@1"));
    }

    #[tokio::test]
    async fn only_a_bundle_that_nobody_can_have_is_refused() {
        let (objects, workers) = (MemoryStore::new(), [worker("starter", "1")]);
        assert!(check(&objects, &workers, "starter").await.is_ok());
        assert!(check(&objects, &[], "anything").await.is_ok());
        assert!(check(&objects, &workers, "s3://b/bundles/x").await.is_ok());
        let error = check(&objects, &workers, "x").await.unwrap_err();
        assert!(
            matches!(&error, SubmitError::UnknownBundle { bundle, known } if bundle == "x" && known == &["`starter@1`"])
        );
        let options = PutOptions::default();
        objects.put("bundles/x/latest", Content::from(b"{}".to_vec()), &options).await.unwrap();
        assert!(check(&objects, &workers, "x").await.is_ok());
        assert!(check(&objects, &workers, "x@3").await.is_err());
    }
}
