//! API keys: made, listed, revoked.

use common::port::key_store::{ApiKey, KEY_NAME_CHARS_MAX, KEYS_MAX, KeyId, KeyStore, Scope};
use common::random::Random;

use super::error::FleetError;
use crate::http::access::new_key;

/// A key that was just made, with its text.
#[derive(Debug)]
pub struct Made {
    /// What names it.
    pub id: KeyId,
    /// The text; nothing keeps it.
    pub text: String,
}

/// Makes a key.
///
/// # Errors
/// When the name or the scopes make none, there are too many, or the job store does not answer.
pub async fn create(
    store: &impl KeyStore,
    name: &str,
    mut scopes: Vec<Scope>,
    random: &dyn Random,
) -> Result<Made, FleetError> {
    let chars = name.chars().count();
    if !(1..=KEY_NAME_CHARS_MAX).contains(&chars) || name.chars().any(char::is_control) {
        return Err(FleetError::Setting {
            setting: "name",
            value: name.chars().take(KEY_NAME_CHARS_MAX).collect(),
            hint: format!("a key's name has 1 to {KEY_NAME_CHARS_MAX} printable characters"),
        });
    }
    if store.keys().await?.iter().filter(|key| key.revoked_at.is_none()).count() >= KEYS_MAX {
        return Err(FleetError::TooManyKeys { most: KEYS_MAX });
    }
    scopes.sort_unstable();
    scopes.dedup();
    let (key, text) = new_key(name, scopes, random);
    let id = key.id.clone();
    store.create_key(key).await?;
    Ok(Made { id, text })
}

/// Every key, the oldest first.
///
/// # Errors
/// When the job store does not answer.
pub async fn list(store: &impl KeyStore) -> Result<Vec<ApiKey>, FleetError> {
    Ok(store.keys().await?)
}

/// Makes a key good for nothing; whether it was good before.
///
/// # Errors
/// [`FleetError::UnknownKey`], or when the job store does not answer.
pub async fn revoke(store: &impl KeyStore, id: &KeyId) -> Result<bool, FleetError> {
    store.revoke_key(id).await?.ok_or_else(|| FleetError::UnknownKey { id: id.to_string() })
}
