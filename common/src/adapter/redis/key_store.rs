//! API keys in Redis: `{created} {json}` by id, and when each was revoked.

use serde::{Deserialize, Serialize};

use super::RedisJobStore;
use super::answer::parse;
use super::codec::unreadable;
use crate::clock::Timestamp;
use crate::job::digest::ContentDigest;
use crate::port::job_store::StoreResult;
use crate::port::key_store::{ApiKey, KeyId, KeyStore, NewKey, REVOKED_MAX, Scope};

#[derive(Serialize, Deserialize)]
struct Wire {
    name: String,
    sha256: String,
    scopes: Vec<String>,
}

fn write_key(key: &NewKey) -> String {
    let scopes = key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let wire = Wire { name: key.name.clone(), sha256: key.sha256.to_string(), scopes };
    serde_json::to_string(&wire).expect("texts always have a JSON form")
}

fn read_key(id: &str, text: &str, revoked: &str) -> StoreResult<ApiKey> {
    let wrong = || unreadable("API key", text);
    let at = |text: &str| text.parse().map(Timestamp::from_millis).map_err(|_| wrong());
    let (created, json) = text.split_once(' ').ok_or_else(wrong)?;
    let wire: Wire = serde_json::from_str(json).map_err(|_| wrong())?;
    let sha256: ContentDigest = wire.sha256.parse().map_err(|_| wrong())?;
    // A scope of a later version gives nothing here.
    let scopes = wire.scopes.iter().filter_map(|word| Scope::parse(word)).collect();
    Ok(ApiKey {
        key: NewKey { id: id.parse().map_err(|_| wrong())?, name: wire.name, sha256, scopes },
        created_at: at(created)?,
        revoked_at: if revoked.is_empty() { None } else { Some(at(revoked)?) },
    })
}

impl KeyStore for RedisJobStore {
    async fn create_key(&self, key: NewKey) -> StoreResult<()> {
        let args = [key.id.as_str(), &write_key(&key)];
        self.run(&self.scripts.key_create, &args).await.map(drop)
    }

    async fn find_key(&self, id: &KeyId) -> StoreResult<Option<ApiKey>> {
        let found: Vec<String> = parse("API key", self.run(&self.scripts.key_find, &[id.as_str()]).await?)?;
        match &found[..] {
            [text, revoked] => read_key(id.as_str(), text, revoked).map(Some),
            _ => Ok(None),
        }
    }

    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        let rows: Vec<(String, String, String)> =
            parse("API keys", self.run(&self.scripts.keys, &[]).await?)?;
        let mut keys: Vec<ApiKey> =
            rows.iter().map(|(id, text, revoked)| read_key(id, text, revoked)).collect::<StoreResult<_>>()?;
        keys.sort_by(|a, b| (a.created_at, &a.key.id).cmp(&(b.created_at, &b.key.id)));
        Ok(keys)
    }

    async fn revoke_key(&self, id: &KeyId) -> StoreResult<Option<bool>> {
        let args = [id.as_str(), &REVOKED_MAX.to_string()];
        let answer: i8 = parse("revoking", self.run(&self.scripts.key_revoke, &args).await?)?;
        Ok((answer >= 0).then_some(answer == 1))
    }
}
