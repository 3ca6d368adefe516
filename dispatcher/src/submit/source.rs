//! What an AUDIO argument names. Pure.

use std::path::PathBuf;

use common::adapter::store::folder_path;
use common::adapter::web::{self, Audience, WebError};

/// Extensions of files that are taken from folders and prefixes: everything that a worker reads, and what it refuses by
/// name, so that no recording is passed over in silence.
const EXTENSIONS: [&str; 41] = [
    "wav", "wave", "w64", "rf64", "bwf", "aif", "aiff", "aifc", "au", "snd", "caf", "flac", "mp1", "mp2",
    "mp3", "mpga", "m4a", "m4b", "mp4", "m4v", "mov", "3gp", "aac", "adts", "alac", "ogg", "oga", "ogv",
    "opus", "spx", "webm", "mkv", "mka", "wma", "asf", "amr", "ac3", "dts", "gsm", "wv", "avi",
];

/// What an AUDIO argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or folder of this machine.
    Path(PathBuf),
    /// An object, or everything that starts so.
    Object {
        /// The bucket.
        bucket: String,
        /// Key or prefix; empty for the whole bucket.
        key: String,
    },
    /// An address of the web.
    Web(String),
}

/// An argument that names nothing that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such way of naming.
    #[error("not a file, an `s3://` or an `https://` address: `{text}`")]
    Scheme {
        /// What was given.
        text: String,
    },
    /// Unencrypted.
    #[error("only `https://` addresses are fetched: `{text}`")]
    Insecure {
        /// What was given.
        text: String,
    },
    /// Nothing that can be fetched. Credentials in it are not shown.
    #[error("not an `https://` address that can be fetched: `{text}`")]
    Web {
        /// What was given.
        text: String,
        /// Why.
        source: WebError,
    },
    /// An address without a bucket.
    #[error("not an address of the form `s3://bucket/key`: `{text}`")]
    Bucket {
        /// What was given.
        text: String,
    },
}

impl Source {
    /// What `text` names. Nothing is looked up.
    ///
    /// # Errors
    /// When it is an address of an unknown kind.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let shown = || text.chars().take(256).collect::<String>();
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Self::Path(PathBuf::from(text))) };
        match scheme {
            "s3" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() || key.chars().any(char::is_control) {
                    return Err(SourceError::Bucket { text: shown() });
                }
                Ok(Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            "https" => match web::target(text, Audience::Public) {
                Ok(_) => Ok(Self::Web(text.to_owned())),
                Err(source) => {
                    let after = |part: &str| part.rsplit_once('@').map_or(part, |(_, host)| host).to_owned();
                    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                    let text = format!("https://{}/{path}", after(host)).chars().take(256).collect();
                    Err(SourceError::Web { text, source })
                }
            },
            "http" => Err(SourceError::Insecure { text: shown() }),
            "file" => folder_path(text).map(Self::Path).ok_or_else(|| SourceError::Scheme { text: shown() }),
            _ => Err(SourceError::Scheme { text: shown() }),
        }
    }
}

/// Whether a name in a folder or under a prefix looks like a recording.
#[must_use]
pub fn is_recording(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_fetched_is_refused_and_no_password_is_shown() {
        for text in ["https://", "https:// bad host/x", "https://user:pw@example.com/a.wav"] {
            let error = Source::parse(text).unwrap_err();
            assert!(matches!(error, SourceError::Web { .. }) && !error.to_string().contains("pw"), "{error}");
        }
        assert!(Source::parse("https://example.com/a@b.wav").is_ok());
    }

    #[test]
    fn arguments_are_told_apart() {
        assert_eq!(Source::parse("a b.wav"), Ok(Source::Path("a b.wav".into())));
        assert_eq!(Source::parse("file:///a.wav"), Ok(Source::Path("/a.wav".into())));
        assert_eq!(Source::parse("file:///a%20b.wav"), Ok(Source::Path("/a b.wav".into())));
        assert_eq!(
            Source::parse("/a%20b.wav"),
            Ok(Source::Path("/a%20b.wav".into())),
            "a path is no address"
        );
        let object =
            |bucket: &str, key: &str| Ok(Source::Object { bucket: bucket.to_owned(), key: key.to_owned() });
        assert_eq!(Source::parse("s3://b/k/a.wav"), object("b", "k/a.wav"));
        assert_eq!(Source::parse("s3://b"), object("b", ""));
        assert_eq!(Source::parse("https://x/a.wav"), Ok(Source::Web("https://x/a.wav".to_owned())));
        assert!(matches!(Source::parse("http://x/a.wav"), Err(SourceError::Insecure { .. })));
        assert!(matches!(Source::parse("s3:///k"), Err(SourceError::Bucket { .. })));
        for text in ["ftp://x/a", "file://host/a", "file:///a%zz"] {
            assert!(matches!(Source::parse(text), Err(SourceError::Scheme { .. })), "{text}");
        }
    }

    #[test]
    fn recordings_are_known_by_their_extension() {
        for name in ["a.wav", "A.FLAC", "x.y.mp3", "clip.wma"] {
            assert!(is_recording(name), "{name}");
        }
        for name in ["a.rttm", "wav", ".txt", "a.wav.json", ""] {
            assert!(!is_recording(name), "{name}");
        }
    }
}
