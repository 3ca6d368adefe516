//! Addresses of the form `s3://bucket/prefix`.
//!
//! Pure.

use std::fmt;
use std::str::FromStr;

/// A bucket and a prefix in it. Invariant: the bucket is 3 to 63 legal characters; the prefix is empty or ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Location {
    bucket: String,
    prefix: String,
}

/// Text that is no such address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an address of the form `s3://bucket/prefix`: `{text}`")]
pub struct S3LocationError {
    /// What was given, cut to 256 characters.
    pub text: String,
}

impl S3Location {
    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What stands before every key: empty, or ending in `/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The whole key of a relative one.
    pub(super) fn key(&self, relative: &str) -> String {
        format!("{}{relative}", self.prefix)
    }

    /// The relative key of a whole one.
    pub(super) fn relative<'k>(&self, whole: &'k str) -> Option<&'k str> {
        whole.strip_prefix(&self.prefix)
    }
}

impl FromStr for S3Location {
    type Err = S3LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || S3LocationError { text: text.chars().take(256).collect() };
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // Old buckets may hold `_` and capitals; nobody can make new ones.
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(3..=63).contains(&bucket.len())
            || !bucket.bytes().all(legal)
            || prefix.chars().any(char::is_control)
        {
            return Err(wrong());
        }
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// The `x-amz-copy-source` header: bucket and key, percent-encoded but for `/`.
pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    let mut source = format!("{bucket}/");
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            source.push(char::from(byte));
        } else {
            source.push_str(&format!("%{byte:02X}"));
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let location: S3Location = "s3://bucket/a/b".parse().unwrap();
        assert_eq!((location.bucket(), location.prefix()), ("bucket", "a/b/"));
        assert_eq!(location.to_string(), "s3://bucket/a/b/");
        assert_eq!(location.key("c"), "a/b/c");
        assert_eq!(location.relative("a/b/c"), Some("c"));
        assert_eq!(location.relative("a/x"), None);
        for whole in ["s3://bucket", "s3://bucket/"] {
            assert_eq!(whole.parse::<S3Location>().unwrap().prefix(), "");
        }
        for text in [
            "",
            "s3://",
            "s3://ab",
            "s3:///key",
            "s3://b?cket",
            "http://bucket/",
            &format!("s3://{}", "b".repeat(64)),
        ] {
            assert!(text.parse::<S3Location>().is_err(), "{text}");
        }
        assert!(format!("s3://{}", "b".repeat(63)).parse::<S3Location>().is_ok());
    }

    #[test]
    fn copy_sources_are_encoded() {
        assert_eq!(copy_source("b", "a b/ü+%.x"), "b/a%20b/%C3%BC%2B%25.x");
    }
}
