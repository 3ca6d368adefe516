//! What a job may touch: the store, and the prefixes that an operator allowed (contract, section 10).
//!
//! Invariant: an address is inside a place only at a `/`, never by a longer name that begins alike, and never through
//! `..`. Pure: nothing is looked up.

use std::fmt;

/// The address of a store, `s3://bucket[/prefix]` or `file:///folder`, without a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The place of a store's address.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(url.trim_end_matches('/').to_owned())
    }

    /// The address of an object in the store.
    #[must_use]
    pub fn uri(&self, key: &str) -> String {
        format!("{}/{key}", self.0)
    }

    /// The key of an object in the store; `None` when the address is not one of the store.
    #[must_use]
    pub fn key<'a>(&self, uri: &'a str) -> Option<&'a str> {
        let key = uri.strip_prefix(&self.0)?.strip_prefix('/')?;
        (!key.is_empty() && !climbs(key)).then_some(key)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where an address lies, as seen from a store and its allowed prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the store, under this key.
    Store(&'a str),
    /// Under an allowed prefix.
    Allowed,
    /// On the web (`https://`): reached without anybody's credentials, and checked when connecting.
    Web,
    /// Nowhere a job may go.
    Outside,
}

/// A store and the prefixes outside it that jobs may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    store: StoreUrl,
    allow: Vec<String>,
}

impl Reach {
    /// What may be reached.
    #[must_use]
    pub fn new(store: StoreUrl, allow: Vec<String>) -> Self {
        Self { store, allow }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &StoreUrl {
        &self.store
    }

    /// The prefixes outside the store.
    #[must_use]
    pub fn allowed(&self) -> &[String] {
        &self.allow
    }

    /// Where an address lies.
    #[must_use]
    pub fn place<'a>(&self, uri: &'a str) -> Place<'a> {
        if let Some(key) = self.store.key(uri) {
            return Place::Store(key);
        }
        if !climbs(uri) && self.allow.iter().any(|prefix| below(prefix, uri)) {
            return Place::Allowed;
        }
        if uri.starts_with("https://") { Place::Web } else { Place::Outside }
    }
}

/// Whether an address is a prefix, or lies below it.
fn below(prefix: &str, uri: &str) -> bool {
    let rest = uri.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// Whether a part of the path is `..`, in plain or percent-encoded form.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\']).any(|part| part.to_ascii_lowercase().replace("%2e", ".") == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_store_have_keys() {
        for url in ["s3://bucket/fleet", "s3://bucket/fleet/"] {
            let store = StoreUrl::new(url);
            assert_eq!(store.uri("inbox/a.wav"), "s3://bucket/fleet/inbox/a.wav");
            assert_eq!(store.key("s3://bucket/fleet/inbox/a.wav"), Some("inbox/a.wav"));
            for outside in
                ["s3://bucket/fleet", "s3://bucket/fleet/", "s3://bucket/fleet2/a", "s3://bucket/a"]
            {
                assert_eq!(store.key(outside), None, "{outside}");
            }
        }
        let folder = StoreUrl::new("file:///srv/store");
        assert_eq!(folder.key("file:///srv/store/inbox/a"), Some("inbox/a"));
        assert_eq!(folder.key("file:///srv/store/../secret"), None);
        assert_eq!(folder.key("file:///srv/store/%2E%2e/secret"), None);
    }

    #[test]
    fn only_allowed_prefixes_are_reached() {
        let allow = vec!["s3://team".to_owned(), "s3://other/in/".to_owned(), "file:///data".to_owned()];
        let reach = Reach::new(StoreUrl::new("s3://bucket"), allow);
        assert_eq!(reach.place("s3://bucket/a"), Place::Store("a"));
        for uri in ["s3://team/a", "s3://team", "s3://other/in/a", "file:///data/a.wav"] {
            assert_eq!(reach.place(uri), Place::Allowed, "{uri}");
        }
        for uri in [
            "s3://team-evil/a",
            "s3://other/a",
            "file:///data/../etc/passwd",
            "file:///database",
            "http://x/a",
        ] {
            assert_eq!(reach.place(uri), Place::Outside, "{uri}");
        }
        assert_eq!(reach.place("https://example.org/a.wav"), Place::Web);
    }
}
