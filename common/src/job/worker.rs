//! Who works: a worker's name, and what it tells about itself.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// One run of one worker process. Invariant: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, and a restarted process has
/// another one, so that what its former self held is never taken for its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(String);

/// Text that names no worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a worker id (1 to 128 of `A-Z a-z 0-9 . _ -`): `{text}`")]
pub struct WorkerIdError {
    /// What was given, cut to 128 characters.
    pub text: String,
}

impl WorkerId {
    /// `{host}-{random}`: what `host` holds that an id may not is replaced by `-`, and it is cut to 64 characters.
    #[must_use]
    pub fn new(host: &str, random: [u8; 16]) -> Self {
        let legal = |c: char| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' };
        let mut text: String = host.chars().take(64).map(legal).collect();
        text.push('-');
        for byte in &random[..6] {
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerId {
    type Err = WorkerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=128).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(WorkerIdError { text: text.chars().take(128).collect() })
        }
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a worker says about itself with each heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerInfo {
    /// Its name.
    pub id: WorkerId,
    /// Host name, as the operating system gives it.
    pub host: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The device's own name.
    pub device_name: String,
    /// Bundle that it has loaded.
    pub bundle: String,
    /// Version of that bundle.
    pub version: String,
    /// Jobs it holds.
    pub jobs: u32,
    /// Jobs it can hold.
    pub slots: u32,
    /// Seconds of audio it finished per second over the last minute.
    pub audio_s_per_s: f64,
    /// Seconds of audio that it does per second while it has something to do; `None` before its first job ended.
    pub capacity: Option<f64>,
    /// Whether it takes no more jobs.
    pub draining: bool,
}

/// A worker as the fleet sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerSeen {
    /// What it said last.
    pub info: WorkerInfo,
    /// How long ago, by the job store's clock.
    pub last_seen: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_legal_and_bounded() {
        assert_eq!(WorkerId::new("gpu 1/a", [1; 16]).as_str(), "gpu-1-a-010101010101");
        let longest = WorkerId::new(&"h".repeat(500), [0xab; 16]);
        assert_eq!(longest.as_str().len(), 64 + 13);
        assert_eq!(longest.as_str().parse(), Ok(longest));
        assert!("a".repeat(128).parse::<WorkerId>().is_ok());
        for text in ["", "a b", "a/b", "ä", &"a".repeat(129)] {
            assert!(text.parse::<WorkerId>().is_err(), "{text}");
        }
    }
}
