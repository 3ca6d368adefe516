//! The signature of a webhook (contract, section 8): `t=UNIX,v1=HEX`, HMAC-SHA256 of `t.body`. Pure.

use common::clock::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of `Rollcall-Signature`.
pub fn header(secret: &str, at: Timestamp, body: &str) -> String {
    let seconds = at.as_millis() / 1000;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length is taken");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of `printf '1700000000.{}' | openssl dgst -sha256 -hmac secret`.
    #[test]
    fn the_signature_is_the_contracts() {
        let value = header("secret", Timestamp::from_millis(1_700_000_000_999), "{}");
        assert_eq!(value, "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163");
        assert_ne!(header("other", Timestamp::from_millis(1_700_000_000_999), "{}"), value);
        assert_ne!(header("secret", Timestamp::from_millis(1_700_000_001_000), "{}"), value);
    }
}
