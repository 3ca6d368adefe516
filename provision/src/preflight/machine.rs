//! Processor, memory, disk.

use std::fs;
use std::path::Path;

use common::home::Home;

use super::Check;
use crate::stock::room;

const MIB: u64 = 1 << 20;
/// Two bundles, their archives and ONNX Runtime.
const DISK_BYTES_MIN: u64 = 500 * MIB;
/// Room for recordings on their way as well.
const DISK_BYTES_GOOD: u64 = 4096 * MIB;
/// Both networks, and a long recording at work on each core.
const MEMORY_BYTES_MIN: u64 = 600 * MIB;
const MEMORY_BYTES_GOOD: u64 = 1536 * MIB;

pub(super) fn checks(home: &Home) -> Vec<Check> {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![system(std::env::consts::OS, std::env::consts::ARCH, cores), memory_check(memory), disk(home.root())]
}

fn system(os: &str, architecture: &str, cores: usize) -> Check {
    let found = format!("{os} on {architecture}, {cores} cores");
    if (os, architecture) == ("linux", "x86_64") {
        Check::ok("system", found)
    } else {
        Check::failure("system", found, "the programs and libraries are made for Linux on x86_64")
    }
}

/// `MemAvailable` of `/proc/meminfo`.
fn available_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn memory_check(available: Option<u64>) -> Check {
    let Some(bytes) = available else {
        return Check::warning("memory", "the system does not tell", "mount /proc");
    };
    let found = format!("{} MiB available", bytes / MIB);
    let fix =
        format!("a worker needs {} MiB; {} MiB are better", MEMORY_BYTES_MIN / MIB, MEMORY_BYTES_GOOD / MIB);
    match bytes {
        MEMORY_BYTES_GOOD.. => Check::ok("memory", found),
        MEMORY_BYTES_MIN.. => Check::warning("memory", found, fix),
        _ => Check::failure("memory", found, fix),
    }
}

fn disk(home: &Path) -> Check {
    if let Err(error) = writable(home) {
        let fix = "set `ROLLCALL_HOME` to a folder that this user may write to";
        return Check::failure("disk", format!("cannot write into {}: {error}", home.display()), fix);
    }
    match room::free_bytes(home) {
        Ok(free) => room_check(free, home),
        Err(error) => Check::failure("disk", format!("{}: {error}", home.display()), "set `ROLLCALL_HOME`"),
    }
}

fn room_check(free: u64, home: &Path) -> Check {
    let found = format!("{} MiB free: {}", free / MIB, home.display());
    let fix = "free some, or set `ROLLCALL_HOME` and `TMPDIR` to folders on another disk";
    match free {
        DISK_BYTES_GOOD.. => Check::ok("disk", found),
        DISK_BYTES_MIN.. => Check::warning("disk", found, fix),
        _ => Check::failure("disk", found, fix),
    }
}

fn writable(home: &Path) -> std::io::Result<()> {
    fs::create_dir_all(home)?;
    let probe = home.join(format!(".preflight-{}", std::process::id()));
    fs::write(&probe, "probe")?;
    fs::remove_file(probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Verdict;

    #[test]
    fn bounds_decide() {
        let verdict = |bytes| memory_check(Some(bytes)).verdict;
        assert_eq!(verdict(MEMORY_BYTES_GOOD), Verdict::Ok);
        assert_eq!(verdict(MEMORY_BYTES_GOOD - 1), Verdict::Warning);
        assert_eq!(verdict(MEMORY_BYTES_MIN - 1), Verdict::Failure);
        assert_eq!(memory_check(None).verdict, Verdict::Warning);
        let verdict = |bytes| room_check(bytes, Path::new("/h")).verdict;
        assert_eq!(verdict(DISK_BYTES_GOOD), Verdict::Ok);
        assert_eq!(verdict(DISK_BYTES_MIN), Verdict::Warning);
        assert_eq!(verdict(DISK_BYTES_MIN - 1), Verdict::Failure);
        assert_eq!(system("linux", "x86_64", 2).verdict, Verdict::Ok);
        assert_eq!(system("linux", "aarch64", 2).verdict, Verdict::Failure);
        assert_eq!(available_bytes("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available_bytes("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn a_home_that_cannot_be_written_fails() {
        let folder = tempfile::tempdir().unwrap();
        assert_ne!(disk(folder.path()).verdict, Verdict::Failure);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the probe is gone");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(disk(&file).verdict, Verdict::Failure);
    }
}
