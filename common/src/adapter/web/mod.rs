//! The way to the web: encrypted, and to public addresses only unless an operator allowed a prefix, which is checked when
//! connecting.

mod address;
mod dial;

use std::net::IpAddr;

use http::Uri;

pub use dial::{Dial, Dialling, Internet, Pipe};

/// Why the web gives nothing, by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// It may later.
    #[error("{detail}")]
    Unavailable {
        /// What happened.
        detail: String,
    },
    /// It says no, or may not be asked.
    #[error("{detail}")]
    Forbidden {
        /// Who, and why.
        detail: String,
    },
    /// There is nothing there.
    #[error("{detail}")]
    Missing {
        /// What it says.
        detail: String,
    },
}

/// Which addresses may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Those of the public internet, encrypted.
    Public,
    /// Any, since an operator allowed them; unencrypted too.
    Allowed,
}

/// An address that may be asked at all: `https`, or `http` where an operator allowed it; a host, no credentials.
///
/// # Errors
/// [`WebError::Forbidden`] or [`WebError::Missing`].
pub fn target(text: &str, audience: Audience) -> Result<Uri, WebError> {
    let missing = |detail: &str| WebError::Missing { detail: detail.to_owned() };
    let uri: Uri = text.parse().map_err(|_| missing("not an address"))?;
    match (uri.scheme_str(), audience) {
        (Some("https"), _) | (Some("http"), Audience::Allowed) => {}
        _ => return Err(WebError::Forbidden { detail: "only `https://` is followed".to_owned() }),
    }
    let authority = uri.authority().ok_or_else(|| missing("an address without a host"))?;
    if authority.as_str().contains('@') {
        return Err(WebError::Forbidden { detail: "an address must not hold credentials".to_owned() });
    }
    Ok(uri)
}

/// Whether an address may be asked, as far as it can be told before its name is looked up: one that stands there in
/// numbers has to be public.
///
/// # Errors
/// [`WebError::Forbidden`].
pub fn may_be_asked(uri: &Uri, audience: Audience) -> Result<(), WebError> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) if audience == Audience::Public && !address::is_public(address) => {
            Err(WebError::Forbidden { detail: format!("{address} is not a public address") })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_public() {
        for (text, public) in [
            ("https://127.0.0.1:8443/", false),
            ("https://[::1]/", false),
            ("https://10.1.2.3/x", false),
            ("https://169.254.169.254/", false),
            ("https://8.8.8.8/", true),
            ("https://example.org/", true),
        ] {
            let uri = target(text, Audience::Public).unwrap();
            assert_eq!(may_be_asked(&uri, Audience::Public).is_ok(), public, "{text}");
            assert!(may_be_asked(&uri, Audience::Allowed).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_may_be_asked_is_plain() {
        for (text, public, allowed) in [
            ("https://example.org/a?b", true, true),
            ("http://example.org/", false, true),
            ("http://127.0.0.1:80/", false, true),
            ("https://user:word@example.org/", false, false),
            ("ftp://example.org/", false, false),
            ("example.org", false, false),
            ("https://", false, false),
            ("", false, false),
        ] {
            assert_eq!(target(text, Audience::Public).is_ok(), public, "{text}");
            assert_eq!(target(text, Audience::Allowed).is_ok(), allowed, "{text}");
        }
    }
}
