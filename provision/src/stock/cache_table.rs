//! What is wanted against what is there: which bytes to fetch, what to install, which versions to remove.
//!
//! Pure.

use std::collections::BTreeSet;
use std::time::SystemTime;

/// A version on this machine, as far as the decision needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct There {
    /// SHA-256 of its manifest file.
    pub sha256: String,
    /// Whether every file is as its manifest says.
    pub whole: bool,
}

/// What to do about a wanted version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It is there, whole and current.
    Nothing,
    /// It is there and whole; `current` has to name it.
    Point,
    /// It has to be fetched, in the place of `replaced`.
    Install {
        /// What lies in its place.
        replaced: Replaced,
    },
}

/// What an installation replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing.
    Nothing,
    /// The same version, damaged.
    Damaged,
    /// A version of the same name that is another: built here, most often.
    Another,
}

/// Decides about version `version` with the manifest digest `sha256`, where `there` is what lies in its place.
#[must_use]
pub fn plan(version: &str, sha256: &str, there: Option<&There>, current: Option<&str>) -> Plan {
    match there {
        Some(there) if there.sha256 != sha256 => Plan::Install { replaced: Replaced::Another },
        Some(there) if !there.whole => Plan::Install { replaced: Replaced::Damaged },
        Some(_) if current == Some(version) => Plan::Nothing,
        Some(_) => Plan::Point,
        None => Plan::Install { replaced: Replaced::Nothing },
    }
}

/// A range of an object that is fetched by itself: bytes `start` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub number: u64,
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
}

/// The parts of an object of `bytes` bytes that are not in `done`.
#[must_use]
pub fn missing_parts(bytes: u64, part_bytes: u64, done: &BTreeSet<u64>) -> Vec<Part> {
    let part_bytes = part_bytes.max(1);
    (0..bytes.div_ceil(part_bytes))
        .filter(|number| !done.contains(number))
        .map(|number| Part {
            number,
            start: number * part_bytes,
            end: (number * part_bytes).saturating_add(part_bytes).min(bytes),
        })
        .collect()
}

/// An installed version, as far as clearing up needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Version.
    pub version: String,
    /// When it was installed.
    pub installed: SystemTime,
}

/// The versions that go when `keep` stay: the current one always stays, then the one before it, then the newest.
#[must_use]
pub fn surplus(versions: &[Kept], current: Option<&str>, previous: Option<&str>, keep: usize) -> Vec<String> {
    let rank = |kept: &Kept| match Some(kept.version.as_str()) {
        version if version == current => 0,
        version if version == previous => 1,
        _ => 2,
    };
    let mut order: Vec<&Kept> = versions.iter().collect();
    order.sort_by(|a, b| {
        rank(a).cmp(&rank(b)).then(b.installed.cmp(&a.installed)).then_with(|| b.version.cmp(&a.version))
    });
    order.into_iter().skip(keep.max(1)).map(|kept| kept.version.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_missing_is_done() {
        let there = |sha256: &str, whole| There { sha256: sha256.into(), whole };
        let install = |replaced| Plan::Install { replaced };
        for (there, current, expected) in [
            (None, None, install(Replaced::Nothing)),
            (None, Some("1"), install(Replaced::Nothing)),
            (Some(there("a", true)), Some("2"), Plan::Nothing),
            (Some(there("a", true)), Some("1"), Plan::Point),
            (Some(there("a", true)), None, Plan::Point),
            (Some(there("a", false)), Some("2"), install(Replaced::Damaged)),
            (Some(there("b", true)), Some("2"), install(Replaced::Another)),
        ] {
            assert_eq!(plan("2", "a", there.as_ref(), current), expected, "{there:?} {current:?}");
        }
    }

    #[test]
    fn parts_cover_the_object_once() {
        for bytes in [0, 1, 9, 10, 11, 20, 105] {
            let parts = missing_parts(bytes, 10, &BTreeSet::new());
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.start, next);
                assert!(part.end > part.start && part.end - part.start <= 10);
                next = part.end;
            }
            assert_eq!(next, bytes);
        }
        let left = missing_parts(35, 10, &BTreeSet::from([0, 2]));
        assert_eq!(left, [Part { number: 1, start: 10, end: 20 }, Part { number: 3, start: 30, end: 35 }]);
        assert_eq!(missing_parts(35, 10, &(0..4).collect()), []);
    }

    #[test]
    fn the_current_and_the_previous_version_stay_longest() {
        let versions: Vec<Kept> = (1..=5)
            .map(|n| Kept {
                version: n.to_string(),
                installed: SystemTime::UNIX_EPOCH + Duration::from_secs(n),
            })
            .collect();
        assert_eq!(surplus(&versions, Some("2"), Some("1"), 3), ["4", "3"]);
        assert_eq!(surplus(&versions, Some("2"), None, 1), ["5", "4", "3", "1"]);
        assert_eq!(surplus(&versions, Some("2"), None, 0), ["5", "4", "3", "1"], "one always stays");
        assert_eq!(surplus(&versions, None, None, 5), [""; 0]);
    }
}
