//! What a user calls a bundle: `NAME`, `NAME@VERSION`, or either behind `s3://…/bundles/` or `file:///…/bundles/`.
//!
//! Pure.

use std::fmt;
use std::str::FromStr;

use common::model::manifest::{is_name, is_version};

/// A bundle, perhaps of one version, perhaps in a store of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAddress {
    /// The store's address without `bundles/`; `None` is the configured store.
    pub store: Option<String>,
    /// Name.
    pub name: String,
    /// Version; `None` is the one that the store's pointer names.
    pub version: Option<String>,
}

/// Text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither the name of a bundle nor its address: `{text}`")]
pub struct BundleAddressError {
    /// What was given, cut to 256 characters.
    pub text: String,
}

impl FromStr for BundleAddress {
    type Err = BundleAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || BundleAddressError { text: text.chars().take(256).collect() };
        let (store, rest) = if text.contains("://") {
            let (before, rest) = text.rsplit_once('/').ok_or_else(wrong)?;
            let store = before.strip_suffix("/bundles").ok_or_else(wrong)?;
            (Some(store.to_owned()), rest)
        } else {
            (None, text)
        };
        let (name, version) = match rest.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (rest, None),
        };
        if !is_name(name) || version.is_some_and(|version| !is_version(version)) {
            return Err(wrong());
        }
        Ok(Self { store, name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for BundleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(store) = &self.store {
            write!(f, "{store}/bundles/")?;
        }
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// A store's address as users give it: with or without `/bundles` and a name behind it.
#[must_use]
pub fn store_of(text: &str) -> &str {
    let text = text.trim_end_matches('/');
    match text.rsplit_once("/bundles") {
        Some((store, name)) if name.is_empty() || name.strip_prefix('/').is_some_and(is_name) => store,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, store, name, version) in [
            ("starter", None, "starter", None),
            ("starter@1.0.0", None, "starter", Some("1.0.0")),
            ("s3://bucket/bundles/starter", Some("s3://bucket"), "starter", None),
            ("s3://bucket/a/b/bundles/starter@v1", Some("s3://bucket/a/b"), "starter", Some("v1")),
            ("file:///dir/bundles/x", Some("file:///dir"), "x", None),
        ] {
            let address: BundleAddress = text.parse().unwrap();
            let found = (address.store.as_deref(), address.name.as_str(), address.version.as_deref());
            assert_eq!(found, (store, name, version));
            assert_eq!(address.to_string(), text);
        }
        for text in
            ["", "Starter", "starter@", "starter@../x", "a/b", "s3://bucket/starter", "s3://b/bundles/", "@1"]
        {
            assert!(text.parse::<BundleAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_store_may_be_named_by_its_bundles() {
        for text in
            ["s3://b/p", "s3://b/p/", "s3://b/p/bundles", "s3://b/p/bundles/", "s3://b/p/bundles/starter"]
        {
            assert_eq!(store_of(text), "s3://b/p");
        }
        assert_eq!(store_of("s3://b/bundles/a/b"), "s3://b/bundles/a/b");
    }
}
