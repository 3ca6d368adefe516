//! API keys in memory.

use super::MemoryJobStore;
use crate::port::job_store::StoreResult;
use crate::port::key_store::{ApiKey, KeyId, KeyStore, NewKey, REVOKED_MAX};

impl KeyStore for MemoryJobStore {
    async fn create_key(&self, key: NewKey) -> StoreResult<()> {
        let (id, created_at) = (key.id.clone(), self.now());
        self.lock().keys.entry(id).or_insert(ApiKey { key, created_at, revoked_at: None });
        Ok(())
    }

    async fn find_key(&self, id: &KeyId) -> StoreResult<Option<ApiKey>> {
        Ok(self.lock().keys.get(id).cloned())
    }

    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        let mut keys: Vec<_> = self.lock().keys.values().cloned().collect();
        keys.sort_by(|a, b| (a.created_at, &a.key.id).cmp(&(b.created_at, &b.key.id)));
        Ok(keys)
    }

    async fn revoke_key(&self, id: &KeyId) -> StoreResult<Option<bool>> {
        let now = self.now();
        let mut state = self.lock();
        let Some(key) = state.keys.get_mut(id) else { return Ok(None) };
        let was_good = key.revoked_at.is_none();
        key.revoked_at.get_or_insert(now);
        let revoked = || state.keys.values().filter_map(|key| Some((key.revoked_at?, &key.key.id)));
        if revoked().count() > REVOKED_MAX
            && let Some(oldest) = revoked().filter(|(_, one)| *one != id).min().map(|(_, one)| one.clone())
        {
            state.keys.remove(&oldest);
        }
        Ok(Some(was_good))
    }
}
