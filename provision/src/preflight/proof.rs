//! What the worker itself proves here: the library, the bundle, the networks' numbers, every decoder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::home::{self, Home};
use serde::Deserialize;

use super::child::ask;
use super::{Check, Device, Plan, Verdict, gpu};
use crate::progress::Progress;
use crate::runtime::Kind;
use crate::wheel::Pin;
use crate::{gpu_runtime, runtime, selftest, verify};

/// Two seconds of the repository's own sample in every codec that recordings usually come in.
const SAMPLES: [(&str, &[u8]); 7] = [
    ("wav.wav", include_bytes!("../../samples/wav.wav")),
    ("flac.flac", include_bytes!("../../samples/flac.flac")),
    ("mp3.mp3", include_bytes!("../../samples/mp3.mp3")),
    ("aac.m4a", include_bytes!("../../samples/aac.m4a")),
    ("alac.m4a", include_bytes!("../../samples/alac.m4a")),
    ("vorbis.ogg", include_bytes!("../../samples/vorbis.ogg")),
    ("opus.opus", include_bytes!("../../samples/opus.opus")),
];
/// Length of each, with what codecs add at the ends.
const SAMPLE_S: std::ops::RangeInclusive<f64> = 1.9..=2.2;
/// A loaded machine with two cores needs 3 s.
const LIMIT: Duration = Duration::from_secs(180);

/// `gpu`: there is one that a worker would look at.
pub(super) fn checks(plan: &Plan<'_>, gpu: bool, progress: &dyn Progress) -> Vec<Check> {
    let mut checks = libraries(plan.home, plan.device, gpu);
    let folder = match bundle(plan.home, plan.bundle) {
        Ok((folder, found)) => {
            checks.push(Check::ok("bundle", found));
            folder
        }
        Err(found) => {
            let fix =
                format!("`rollcall-provision ensure {0}` or `rollcall-provision build {0}`", plan.bundle);
            checks.push(Check::failure("bundle", found, fix));
            return checks;
        }
    };
    let Some(worker) = &plan.worker else {
        let fix = "put it beside `rollcall-provision` or into PATH, or name it with `--worker PATH`";
        checks.push(Check::failure("worker", "`rollcall-worker` was not found", fix));
        return checks;
    };
    progress.step("testing the networks");
    checks.push(networks(worker, plan.home, &folder));
    progress.step("decoding samples");
    checks.push(decoders(worker, plan, &folder));
    checks
}

fn libraries(home: &Home, device: Device, gpu: bool) -> Vec<Check> {
    let whole = Kind::Gpu.is_installed(home);
    let for_gpus = || gpu_library(home, whole);
    match device {
        Device::Cuda { .. } => vec![for_gpus()],
        Device::Auto | Device::Cpu if whole && !Kind::Cpu.is_installed(home) => vec![for_gpus()],
        Device::Auto if gpu => vec![cpu_library(home), beside_a_gpu(for_gpus())],
        Device::Auto | Device::Cpu => vec![cpu_library(home)],
    }
}

/// With `auto` nothing says that the GPU has to be used; that it is not, somebody has to say.
fn beside_a_gpu(check: Check) -> Check {
    let found = if check.verdict == Verdict::Failure {
        format!("{}; the worker will use the CPU", check.found)
    } else {
        check.found.clone()
    };
    gpu::soften(Check { name: "onnxruntime_gpu", found, ..check })
}

fn cpu_library(home: &Home) -> Check {
    let path = home.onnxruntime_library();
    if runtime::is_installed(home) {
        Check::ok("onnxruntime", format!("{} at {}", home::ONNXRUNTIME_VERSION, path.display()))
    } else {
        let found = format!("missing or damaged: {}", path.display());
        Check::failure("onnxruntime", found, "`rollcall-provision runtime` installs it")
    }
}

/// The build for GPUs with every library at its pinned version, or a folder that somebody filled otherwise.
fn gpu_library(home: &Home, whole: bool) -> Check {
    let folder = home.onnxruntime_gpu();
    let version = |package| Pin::of(package).map_or_else(|| "?".to_owned(), |pin| pin.version);
    if whole {
        let (blas, dnn) = (version("nvidia-cublas"), version("nvidia-cudnn-cu13"));
        let at = folder.display();
        let found = format!("{} for GPUs, cuBLAS {blas}, cuDNN {dnn} at {at}", home::ONNXRUNTIME_VERSION);
        return Check::ok("onnxruntime", found);
    }
    let fix = "`rollcall-provision runtime --gpu` installs it";
    let missing = gpu_runtime::missing(&folder);
    let own: Vec<String> = missing
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .filter(|name| name.starts_with("libonnxruntime"))
        .map(str::to_owned)
        .collect();
    if own.is_empty() {
        let elsewhere = missing.len();
        let found =
            format!("at {}; {elsewhere} CUDA libraries have to come from elsewhere", folder.display());
        return Check::warning("onnxruntime", found, fix);
    }
    Check::failure("onnxruntime", format!("missing in {}: {}", folder.display(), own.join(", ")), fix)
}

/// The folder of the bundle and what to say of it.
fn bundle(home: &Home, wanted: &str) -> Result<(PathBuf, String), String> {
    let folder = match wanted.split_once('@') {
        _ if wanted.contains('/') => PathBuf::from(wanted),
        Some((name, version)) => home.bundle_version(name, version),
        None => home.bundle_current(wanted),
    };
    match verify::bundle(&folder) {
        Ok(manifest) => Ok((folder, format!("{}@{} is whole", manifest.name, manifest.version))),
        Err(error) => Err(error.to_string()),
    }
}

fn networks(worker: &Path, home: &Home, folder: &Path) -> Check {
    let began = Instant::now();
    match selftest::check(worker, home, folder) {
        Ok(()) => Check::ok(
            "selftest",
            format!("the networks are right, in {:.1} s", began.elapsed().as_secs_f64()),
        ),
        Err(error) => Check::failure(
            "selftest",
            error.to_string(),
            "run the `rollcall-worker` of the same version; if it is, this machine computes wrong numbers: use another",
        ),
    }
}

/// A line of `rollcall-worker run --json`.
#[derive(Debug, Deserialize)]
struct Line {
    audio: String,
    ok: bool,
    duration_s: Option<f64>,
    failure: Option<Reason>,
}

#[derive(Debug, Deserialize)]
struct Reason {
    code: String,
    detail: String,
}

fn decoders(worker: &Path, plan: &Plan<'_>, bundle: &Path) -> Check {
    let folder = plan.home.partial().join(format!("preflight.{}", std::process::id()));
    let check = decode_in(&folder, worker, plan, bundle);
    // A folder that stays costs 100 kB, and the next installation removes nothing of it: say nothing, it is not wrong.
    _ = fs::remove_dir_all(&folder);
    check
}

fn decode_in(folder: &Path, worker: &Path, plan: &Plan<'_>, bundle: &Path) -> Check {
    let fix = "run the `rollcall-worker` of the same version";
    let written = fs::create_dir_all(folder)
        .and_then(|()| SAMPLES.iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes)));
    if let Err(error) = written {
        return Check::failure("decode", format!("cannot write the samples: {error}"), "free some disk");
    }
    let device = match plan.device {
        Device::Auto => "auto".to_owned(),
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda { number } => format!("cuda:{number}"),
    };
    let mut command = Command::new(worker);
    command.args(["run", "--json", "--formats", "json", "--device", &device, "--bundle"]).arg(bundle);
    command.arg("--out").arg(folder.join("out")).args(SAMPLES.iter().map(|(name, _)| folder.join(name)));
    let answer = match ask(command.env(home::VARIABLE, plan.home.root()), LIMIT) {
        Ok(answer) => answer,
        Err(silence) => return Check::failure("decode", format!("`{}` {silence}", worker.display()), fix),
    };
    if answer.out.trim().is_empty() {
        let complaint = answer.complaint();
        return Check::failure("decode", complaint.error, complaint.hint.unwrap_or_else(|| fix.to_owned()));
    }
    judge(&answer.out)
}

fn judge(lines: &str) -> Check {
    let lines: Vec<Line> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let by_name: BTreeMap<String, &Line> = lines
        .iter()
        .filter_map(|line| Some((Path::new(&line.audio).file_name()?.to_str()?.to_owned(), line)))
        .collect();
    let wrong: Vec<String> = SAMPLES
        .iter()
        .filter_map(|(name, _)| match by_name.get(*name) {
            None => Some(format!("{name}: no answer")),
            Some(Line { failure: Some(reason), .. }) => {
                Some(format!("{name}: {}: {}", reason.code, reason.detail))
            }
            Some(Line { ok: true, duration_s: Some(duration), .. }) if SAMPLE_S.contains(duration) => None,
            Some(line) => Some(format!("{name}: {:?} s instead of 2 s", line.duration_s)),
        })
        .collect();
    if wrong.is_empty() {
        let names: Vec<&str> = SAMPLES.iter().filter_map(|(name, _)| name.split('.').next()).collect();
        Check::ok("decode", names.join(", "))
    } else {
        Check::failure("decode", wrong.join("; "), "run the `rollcall-worker` of the same version")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, duration_s: f64) -> String {
        format!(
            "{{\"audio\":\"/x/{name}\",\"ok\":true,\"out\":\"o\",\"duration_s\":{duration_s},\"failure\":null}}\n"
        )
    }

    #[test]
    fn every_sample_has_to_be_decoded_whole() {
        let all: String = SAMPLES.iter().map(|(name, _)| line(name, 2.0)).collect();
        assert_eq!(judge(&all), Check::ok("decode", "wav, flac, mp3, aac, alac, vorbis, opus"));
        let short = all.replace(&line("mp3.mp3", 2.0), &line("mp3.mp3", 0.5));
        assert!(judge(&short).found.contains("mp3.mp3: Some(0.5) s"), "{:?}", judge(&short));
        let failed = r#"{"audio":"opus.opus","ok":false,"failure":{"code":"audio_unsupported","stage":"decode","detail":"no"}}"#;
        let failed = all.replace(line("opus.opus", 2.0).trim(), failed);
        assert_eq!(judge(&failed).found, "opus.opus: audio_unsupported: no");
        assert_eq!(judge("").verdict, Verdict::Failure);
    }

    #[test]
    fn what_is_missing_is_named_with_its_fix() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let plan = Plan {
            home: &home,
            device: Device::Cpu,
            bundle: "starter",
            worker: None,
            redis_url: None,
            queue_url: None,
            store_url: None,
        };
        let checks = checks(&plan, false, &crate::progress::Silent);
        let names: Vec<_> = checks.iter().map(|check| (check.name, check.verdict)).collect();
        assert_eq!(names, [("onnxruntime", Verdict::Failure), ("bundle", Verdict::Failure)]);
        assert!(checks[1].fix.as_ref().unwrap().contains("ensure starter"));
    }

    #[test]
    fn a_gpu_without_its_library_is_said_with_auto() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        let verdicts = |device, gpu| -> Vec<(&'static str, Verdict)> {
            libraries(&home, device, gpu).into_iter().map(|check| (check.name, check.verdict)).collect()
        };
        let for_cpu = ("onnxruntime", Verdict::Failure);
        assert_eq!(verdicts(Device::Auto, false), [for_cpu]);
        assert_eq!(verdicts(Device::Cpu, true), [for_cpu]);
        assert_eq!(verdicts(Device::Auto, true), [for_cpu, ("onnxruntime_gpu", Verdict::Warning)]);
        let said = &libraries(&home, Device::Auto, true)[1];
        assert!(said.found.ends_with("; the worker will use the CPU"), "{}", said.found);
        assert!(said.fix.as_ref().unwrap().contains("runtime --gpu"));
    }
}
