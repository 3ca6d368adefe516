//! The enrolled voices of a bundle: listed for every job, so that who was enrolled a moment ago is known, and read only
//! when they changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::fleet::voices;
use common::object_key;
use common::port::object_store::{Listed, ObjectStore, StoreError};
use common::speech::voice::{self, VOICES_MAX, Voice, VoiceSet};

use super::{FetchError, Fetcher};

/// Voices read before, by key, with the version that was read.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    read: Mutex<BTreeMap<String, (String, Arc<Read>)>>,
}

/// A voice, or why it is none.
type Read = Result<Voice, String>;

impl<O: ObjectStore> Fetcher<O> {
    /// The voices that are enrolled for a bundle now. One that cannot be understood is a warning, and is not compared.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn voices(&self, bundle: &str) -> Result<VoiceSet, FetchError> {
        let (listed, more) = voices::listed(&self.objects, bundle).await?;
        let mut set = VoiceSet { digest: voices::digest(&listed), ..VoiceSet::default() };
        if more > 0 {
            set.warnings.push(format!(
                "{more} known voice(s) beyond the first {VOICES_MAX} by name were not compared"
            ));
        }
        let mut kept = BTreeMap::new();
        for object in &listed {
            let version = format!("{:?}", object.info);
            let known = self
                .lock()
                .get(&object.key)
                .filter(|(of, _)| *of == version)
                .map(|(_, read)| Arc::clone(read));
            let read = match known {
                Some(read) => read,
                None => match self.read_voice(object).await? {
                    Some(read) => Arc::new(read),
                    // Removed since it was listed.
                    None => continue,
                },
            };
            match &*read {
                Ok(voice) => set.voices.push(voice.clone()),
                Err(why) => set.warnings.push(why.clone()),
            }
            kept.insert(object.key.clone(), (version, read));
        }
        *self.lock() = kept;
        Ok(set)
    }

    async fn read_voice(&self, object: &Listed) -> Result<Option<Read>, StoreError> {
        let name = object_key::voice_at(&object.key).map_or("", |(_, name)| name);
        let unusable = |why: String| Some(Err(format!("the known voice `{name}` was not compared: {why}")));
        match self.objects.read(&object.key, voice::BYTES_MAX).await {
            Ok(json) => Ok(match Voice::parse(&json) {
                Ok(voice) if voice.name == name => Some(Ok(voice)),
                Ok(_) => unusable("its document has another name".to_owned()),
                Err(error) => unusable(error.to_string()),
            }),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error @ StoreError::TooLarge { .. }) => Ok(unusable(error.to_string())),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (String, Arc<Read>)>> {
        // Whoever panicked left a map that is whole.
        self.shelf.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
