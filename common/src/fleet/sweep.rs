//! Removing what attempts wrote that came to nothing.

use std::time::Duration;

use crate::object_key;
use crate::port::job_store::{JobStore, JobStoreError};
use crate::port::object_store::{ObjectStore, PAGE_OBJECTS_MAX, StoreError};

/// Removes the folders of up to `n` lost attempts; gives how many, and the last error. A folder that could not be
/// emptied comes back when the claim lapses.
///
/// # Errors
/// When the job store does not answer.
pub async fn pass(
    store: &impl JobStore,
    objects: &impl ObjectStore,
    n: usize,
    claim: Duration,
) -> Result<(usize, Option<StoreError>), JobStoreError> {
    let (mut swept, mut failed) = (Vec::new(), None);
    for attempt in store.claim_sweeps(n, claim).await? {
        match empty(objects, &object_key::attempt(&attempt)).await {
            Ok(()) => swept.push(attempt),
            // The others lie in the same store.
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    if !swept.is_empty() {
        store.delete_sweeps(&swept).await?;
    }
    Ok((swept.len(), failed))
}

async fn empty(objects: &impl ObjectStore, folder: &str) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = objects.list(folder, after.as_deref(), PAGE_OBJECTS_MAX).await?;
        for object in &page.objects {
            objects.delete(&object.key).await?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
