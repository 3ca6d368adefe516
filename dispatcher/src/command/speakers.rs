//! Listing and forgetting known voices. Enrolling is a submission (`submit::enroll`).

use common::fleet::voices;
use common::object_key;
use common::port::object_store::{ObjectStore, StoreError};
use common::speech::voice::{self, Voice};
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::FleetError;

/// Documents that are read at a time.
const AT_ONCE: usize = 16;

/// A known voice as the store has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its bundle, as the key says.
    pub bundle: String,
    /// Its name, as the key says.
    pub name: String,
    /// Its document, or why it is none.
    pub voice: Result<Voice, String>,
}

/// The known voices of a bundle, or of all, by bundle and name.
///
/// # Errors
/// When the store does not answer.
pub async fn list(objects: &impl ObjectStore, bundle: Option<&str>) -> Result<Vec<Known>, FleetError> {
    let keys = keys(objects, bundle).await?;
    let read = keys.iter().map(|key| async move {
        let (bundle, name) = object_key::voice_at(key).unwrap_or_default();
        let voice = match objects.read(key, voice::BYTES_MAX).await {
            Ok(json) => Voice::parse(&json).map_err(|error| error.to_string()),
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error @ StoreError::TooLarge { .. }) => Err(error.to_string()),
            Err(error) => return Err(FleetError::of_store(error)),
        };
        Ok(Some(Known { bundle: bundle.to_owned(), name: name.to_owned(), voice }))
    });
    // Removed since it was listed: not there.
    futures::stream::iter(read)
        .buffered(AT_ONCE)
        .try_filter_map(|known| async { Ok(known) })
        .try_collect()
        .await
}

/// Forgets voices, of one bundle or of all; gives each key that went, and the names for which there was none.
///
/// # Errors
/// When the store does not answer.
pub async fn remove(
    objects: &impl ObjectStore,
    names: &[String],
    bundle: Option<&str>,
) -> Result<(Vec<(String, String)>, Vec<String>), FleetError> {
    let keys = keys(objects, bundle).await?;
    let (mut removed, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        let before = removed.len();
        for key in &keys {
            if let Some((bundle, found)) = object_key::voice_at(key)
                && found == name
            {
                objects.delete(key).await.map_err(FleetError::of_store)?;
                removed.push((bundle.to_owned(), found.to_owned()));
            }
        }
        if removed.len() == before {
            unknown.push(name.clone());
        }
    }
    Ok((removed, unknown))
}

async fn keys(objects: &impl ObjectStore, bundle: Option<&str>) -> Result<Vec<String>, FleetError> {
    let listed = match bundle {
        Some(bundle) => voices::listed(objects, bundle).await.map(|(listed, _)| listed),
        None => voices::of_every_bundle(objects).await,
    };
    Ok(listed.map_err(FleetError::of_store)?.into_iter().map(|object| object.key).collect())
}

#[cfg(test)]
mod tests {
    use common::adapter::memory::object_store::MemoryStore;
    use common::port::object_store::PutOptions;
    use common::port::object_store::content::Content;
    use common::speech::voice::{HeardBy, SCHEMA};

    use super::*;

    async fn store(keys: &[(&str, &str)]) -> MemoryStore {
        let objects = MemoryStore::new();
        for (bundle, name) in keys {
            let digest = "0".repeat(64);
            let voice = Voice {
                schema: SCHEMA.to_owned(),
                name: (*name).to_owned(),
                bundle: HeardBy {
                    name: (*bundle).to_owned(),
                    version: "1".to_owned(),
                    sha256: digest.clone(),
                    embedding_sha256: digest,
                },
                dimension: 1,
                embedding: vec![1.0],
                speech_s: 12.0,
                recordings: 1,
                created_at: String::new(),
            };
            let key = object_key::voice(bundle, name);
            let content = Content::from(voice.to_json().into_bytes());
            objects.put(&key, content, &PutOptions::default()).await.unwrap();
        }
        objects
    }

    #[tokio::test]
    async fn voices_are_listed_and_forgotten() {
        let objects = store(&[("a", "Ada"), ("b", "Ada"), ("b", "Bob")]).await;
        let junk = Content::from(b"{}".to_vec());
        objects.put("speakers/b/Eve.json", junk, &PutOptions::default()).await.unwrap();
        let names =
            |known: &[Known]| known.iter().map(|k| format!("{}/{}", k.bundle, k.name)).collect::<Vec<_>>();
        let all = list(&objects, None).await.unwrap();
        assert_eq!(names(&all), ["a/Ada", "b/Ada", "b/Bob", "b/Eve"]);
        assert!(all[..3].iter().all(|k| k.voice.is_ok()) && all[3].voice.is_err());
        let gone = remove(&objects, &["Ada".to_owned(), "Zoe".to_owned()], Some("b")).await.unwrap();
        assert_eq!(gone, (vec![("b".to_owned(), "Ada".to_owned())], vec!["Zoe".to_owned()]));
        assert_eq!(names(&list(&objects, Some("b")).await.unwrap()), ["b/Bob", "b/Eve"]);
        let gone = remove(&objects, &["Ada".to_owned()], None).await.unwrap();
        assert_eq!(gone.0, [("a".to_owned(), "Ada".to_owned())]);
    }
}
