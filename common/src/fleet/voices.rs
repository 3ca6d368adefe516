//! The enrolled voices of a bundle, as the store lists them.

use crate::job::digest::ContentDigest;
use crate::object_key;
use crate::port::object_store::{Listed, ObjectStore, PAGE_OBJECTS_MAX, StoreError};
use crate::speech::voice::VOICES_MAX;

/// The objects of a bundle's voices, by key; at most [`VOICES_MAX`], the first by name, and how many more there are.
///
/// # Errors
/// When the store does not list them.
pub async fn listed(objects: &impl ObjectStore, bundle: &str) -> Result<(Vec<Listed>, usize), StoreError> {
    let mut all = under(objects, &object_key::voices(bundle)).await?;
    let more = all.len().saturating_sub(VOICES_MAX);
    all.truncate(VOICES_MAX);
    Ok((all, more))
}

/// The objects of the voices of every bundle, by key.
///
/// # Errors
/// When the store does not list them.
pub async fn of_every_bundle(objects: &impl ObjectStore) -> Result<Vec<Listed>, StoreError> {
    under(objects, object_key::SPEAKERS).await
}

async fn under(objects: &impl ObjectStore, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let (mut all, mut after) = (Vec::new(), None);
    // A store with more than a hundred bundles full of voices is not listed to its end.
    while all.len() < 100 * VOICES_MAX {
        let page = objects.list(prefix, after.as_deref(), PAGE_OBJECTS_MAX).await?;
        all.extend(page.objects.into_iter().filter(|object| object_key::voice_at(&object.key).is_some()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(all)
}

/// What names this set of voices: the same for whoever lists the same objects, another as soon as one is added, replaced
/// or removed. `None` for no voices.
#[must_use]
pub fn digest(listed: &[Listed]) -> Option<ContentDigest> {
    let line = |object: &Listed| {
        let info = &object.info;
        // A store that tells no ETag tells when it was written.
        let version = info.etag.clone().unwrap_or_else(|| format!("{:?}", info.modified));
        format!("{} {} {version}\n", object.key, info.bytes)
    };
    let text: String = listed.iter().map(line).collect();
    (!text.is_empty()).then(|| ContentDigest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::object_store::ObjectInfo;

    fn listed(key: &str, etag: &str) -> Listed {
        Listed { key: key.into(), info: ObjectInfo { bytes: 1, etag: Some(etag.into()), modified: None } }
    }

    #[test]
    fn every_change_is_another_set() {
        let (ada, bob) = (listed("speakers/b/Ada.json", "1"), listed("speakers/b/Bob.json", "1"));
        let sets = [vec![ada.clone()], vec![ada.clone(), bob.clone()], vec![listed(&ada.key, "2"), bob]];
        let digests: Vec<_> = sets.iter().map(|set| digest(set)).collect();
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests.iter().all(Option::is_some));
        assert_eq!(digest(&sets[1]), digests[1]);
        assert_eq!(digest(&[]), None);
    }
}
