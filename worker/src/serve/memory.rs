//! How much memory jobs may need together, and what one needs.

use std::fs;
use std::time::Duration;

/// What any job needs, bytes: sound on its way, requests, clustering, a page with its sound (`ARCHITECTURE.md`, Memory).
const JOB_BYTES: u64 = 100 << 20;
/// What each hour of a recording adds, bytes: twice 13 MB, since vectors that grow may hold twice their content.
const HOUR_BYTES: u64 = 26_000_000;
/// Fewest bytes of audio a second that are believed where only the size of a file is known: 16 kbit/s.
const AUDIO_BYTES_PER_S: u64 = 2000;
/// Longest recording that any estimate assumes: the limit of 24 hours.
const HOURS_MAX: u64 = 24;

/// Memory that a job needs, bytes: by the length of its recording, else by its size, else as for an hour; of each of the
/// channels that may be kept apart.
#[must_use]
pub fn needed_bytes(duration: Option<Duration>, bytes: Option<u64>, channels: u64) -> u64 {
    let guessed_s = bytes.map(|bytes| bytes / AUDIO_BYTES_PER_S);
    let seconds = duration.map(|duration| duration.as_secs()).or(guessed_s).unwrap_or(3600);
    JOB_BYTES + seconds.min(HOURS_MAX * 3600) * HOUR_BYTES / 3600 * channels
}

/// `6GiB`, `500MiB`, `4096` or `50%` (of `machine_bytes`) as bytes; `None` for anything else, and for 0.
#[must_use]
pub fn budget_bytes(text: &str, machine_bytes: u64) -> Option<u64> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent: u64 = percent.trim().parse().ok().filter(|percent| (1..=100).contains(percent))?;
        return Some(machine_bytes / 100 * percent);
    }
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("K", 10), ("M", 20), ("G", 30)];
    let unit = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let number: u64 = number.trim().parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

/// Memory of this machine, or of the control group that this process lives in, bytes.
#[must_use]
pub fn machine_bytes() -> u64 {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let group =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    // Without either, a small machine is assumed.
    total.into_iter().chain(group).min().unwrap_or(2 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read() {
        for (text, bytes) in [
            ("50%", Some(500)),
            ("100%", Some(1000)),
            ("4096", Some(4096)),
            ("2KiB", Some(2048)),
            ("3 MiB", Some(3 << 20)),
            ("6G", Some(6 << 30)),
            ("0", None),
            ("0%", None),
            ("101%", None),
            ("-1", None),
            ("lots", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(budget_bytes(text, 1000), bytes, "{text}");
        }
        assert!(machine_bytes() > 64 << 20);
    }

    #[test]
    fn long_recordings_need_more_up_to_a_day() {
        let hours = |hours: u64| needed_bytes(Some(Duration::from_secs(hours * 3600)), None, 1);
        assert_eq!(hours(1) - hours(0), HOUR_BYTES);
        assert_eq!(hours(24), hours(1000));
        assert!(hours(24) < 1 << 30);
        assert_eq!(needed_bytes(None, None, 1), hours(1));
        assert_eq!(needed_bytes(None, Some(7_200_000), 1), hours(1));
        assert_eq!(needed_bytes(None, Some(u64::MAX), 1), hours(24));
        let call = needed_bytes(None, None, 8);
        assert_eq!(call - JOB_BYTES, 8 * (hours(1) - JOB_BYTES));
    }
}
