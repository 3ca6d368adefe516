//! The GPU as its driver describes it. The driver's own tool is asked: nothing of CUDA is linked or loaded here.

use std::process::Command;
use std::time::Duration;

use super::child::{Answer, Silence, ask};
use super::{Check, Device, Verdict};

/// The first driver of CUDA 13, which the pinned ONNX Runtime for GPUs is built with (NVIDIA's release notes of the CUDA
/// toolkit, table of driver versions).
const DRIVER_MIN: [u32; 1] = [580];
/// The CUDA of the same library.
const CUDA_MIN: [u32; 2] = [13, 0];
/// The oldest architecture that the library has machine code for.
const CAPABILITY_MIN: [u32; 2] = [7, 5];
/// Networks, libraries and a small batch.
const MEMORY_MIB_MIN: u64 = 2_048;
const LIMIT: Duration = Duration::from_secs(20);
const QUERY: &str = "index,name,driver_version,compute_cap,memory.total,memory.free";

/// What the driver says of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gpu {
    index: u32,
    name: String,
    driver: String,
    capability: String,
    total_mib: u64,
    free_mib: u64,
}

/// What was found, and whether there is a GPU that a worker would look at.
#[derive(Debug)]
pub(super) struct Found {
    pub checks: Vec<Check>,
    pub gpu: bool,
}

pub(super) fn look(device: Device) -> Found {
    if device == Device::Cpu {
        return Found { checks: vec![Check::ok("device", "the CPU, as asked")], gpu: false };
    }
    let query = Command::new("nvidia-smi")
        .args([&format!("--query-gpu={QUERY}"), "--format=csv,noheader,nounits"])
        .ask();
    let banner = || Command::new("nvidia-smi").ask().map(|answer| answer.out).unwrap_or_default();
    let Found { checks, gpu } = judge(device, query, banner);
    let checks = if device == Device::Auto { checks.into_iter().map(soften).collect() } else { checks };
    Found { checks, gpu }
}

/// With `auto` a worker runs on the CPU where the GPU will not do.
pub(super) fn soften(check: Check) -> Check {
    Check { verdict: check.verdict.min(Verdict::Warning), ..check }
}

trait Ask {
    fn ask(&mut self) -> Result<Answer, Silence>;
}

impl Ask for Command {
    fn ask(&mut self) -> Result<Answer, Silence> {
        ask(self, LIMIT)
    }
}

fn judge(device: Device, query: Result<Answer, Silence>, banner: impl Fn() -> String) -> Found {
    let fix = "install NVIDIA's driver, release 580 or later, and give the container access to the GPU; or use `--device cpu`";
    let none = |found: String| {
        let check = match device {
            Device::Cuda { .. } => Check::failure("driver", found, fix),
            Device::Auto | Device::Cpu => Check::ok("device", format!("the CPU: {found}")),
        };
        Found { checks: vec![check], gpu: false }
    };
    // With `auto` a warning: the worker takes the CPU where there is no GPU, and does not start where there is one.
    let broken = |said: String| {
        let found = format!("the NVIDIA driver does not work: {said}");
        Found { checks: vec![Check::failure("driver", found, fix)], gpu: false }
    };
    let answer = match query {
        Err(silence @ Silence::Missing) => return none(format!("no NVIDIA driver: `nvidia-smi` {silence}")),
        Err(silence) => return broken(format!("`nvidia-smi` {silence}")),
        Ok(answer) if !answer.success => return broken(answer.last_word()),
        Ok(answer) => answer,
    };
    let gpus: Vec<Gpu> = answer.out.lines().filter_map(parse).collect();
    let wanted = if let Device::Cuda { number } = device { number } else { 0 };
    let Some(gpu) = gpus.iter().find(|gpu| gpu.index == wanted) else {
        let found = format!("the driver shows {} GPUs, and none is number {wanted}", gpus.len());
        return none(found);
    };
    let checks = vec![
        Check::ok("device", format!("GPU {}: {}", gpu.index, gpu.name)),
        at_least("driver", &gpu.driver, &DRIVER_MIN, "install a newer NVIDIA driver"),
        at_least(
            "cuda",
            &cuda_of(&banner()).unwrap_or_else(|| "unknown".to_owned()),
            &CUDA_MIN,
            "a newer NVIDIA driver brings a newer CUDA",
        ),
        at_least(
            "compute_capability",
            &gpu.capability,
            &CAPABILITY_MIN,
            "use a GPU of the Turing generation or later",
        ),
        memory(gpu),
    ];
    Found { checks, gpu: true }
}

fn parse(line: &str) -> Option<Gpu> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [index, name, driver, capability, total, free] = fields[..] else { return None };
    Some(Gpu {
        index: index.parse().ok()?,
        name: name.to_owned(),
        driver: driver.to_owned(),
        capability: capability.to_owned(),
        total_mib: total.parse().ok()?,
        free_mib: free.parse().ok()?,
    })
}

/// `CUDA Version: 13.0` out of the table that the tool prints.
fn cuda_of(banner: &str) -> Option<String> {
    let (_, rest) = banner.split_once("CUDA Version:")?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|part| part.parse().ok()).collect()
}

fn at_least(name: &'static str, found: &str, wanted: &[u32], fix: &str) -> Check {
    let text = wanted.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    match numbers(found) {
        Some(version) if version.as_slice() >= wanted => Check::ok(name, found),
        Some(_) => Check::failure(name, format!("{found}; {text} or later is needed"), fix),
        None => Check::warning(name, format!("not understood: {found}; {text} or later is needed"), fix),
    }
}

fn memory(gpu: &Gpu) -> Check {
    let found = format!("{} of {} MiB free", gpu.free_mib, gpu.total_mib);
    let fix =
        format!("a worker needs {MEMORY_MIB_MIN} MiB: end what else uses the GPU (`nvidia-smi` lists it)");
    match (gpu.total_mib, gpu.free_mib) {
        (..MEMORY_MIB_MIN, _) => Check::failure("device_memory", found, fix),
        (_, ..MEMORY_MIB_MIN) => Check::warning("device_memory", found, fix),
        _ => Check::ok("device_memory", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANNER: &str = "| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06   CUDA Version: 13.0     |";

    fn verdicts(device: Device, line: &str) -> Vec<(&'static str, Verdict)> {
        let answer = Answer { success: true, out: format!("{line}\n"), err: String::new() };
        let found = judge(device, Ok(answer), || BANNER.to_owned());
        assert_eq!(found.gpu, found.checks.len() > 1);
        found.checks.into_iter().map(|check| (check.name, check.verdict)).collect()
    }

    #[test]
    fn a_good_gpu_passes_and_each_shortcoming_is_named() {
        use Verdict::{Failure, Ok, Warning};
        let good = verdicts(Device::Auto, "0, NVIDIA H100 80GB HBM3, 580.65.06, 9.0, 81559, 81000");
        assert!(good.len() == 5 && good.iter().all(|(_, verdict)| *verdict == Ok), "{good:?}");
        let old = verdicts(Device::Cuda { number: 0 }, "0, Tesla V100, 535.1, 7.0, 16384, 100");
        assert_eq!(
            old,
            [
                ("device", Ok),
                ("driver", Failure),
                ("cuda", Ok),
                ("compute_capability", Failure),
                ("device_memory", Warning)
            ]
        );
        assert_eq!(
            verdicts(Device::Cuda { number: 1 }, "0, X, 580.1, 9.0, 9000, 9000"),
            [("driver", Failure)]
        );
        assert_eq!(verdicts(Device::Auto, "No devices were found"), [("device", Ok)]);
        assert_eq!(at_least("x", "[N/A]", &[1], "").verdict, Warning);
        assert_eq!(at_least("x", "7.5", &CAPABILITY_MIN, "").verdict, Ok);
        assert_eq!(at_least("x", "7.4.9", &CAPABILITY_MIN, "").verdict, Failure);
    }

    #[test]
    fn no_driver_fails_only_where_a_gpu_is_asked_for() {
        let missing = || Err(Silence::Missing);
        let broken = || Ok(Answer { success: false, out: "couldn't communicate".into(), err: String::new() });
        let cuda = Device::Cuda { number: 0 };
        for (device, query, verdict) in [
            (cuda, missing(), Verdict::Failure),
            (cuda, broken(), Verdict::Failure),
            (Device::Auto, missing(), Verdict::Ok),
            // Which is a warning then: see `soften`.
            (Device::Auto, broken(), Verdict::Failure),
            (Device::Auto, Err(Silence::Hangs(LIMIT)), Verdict::Failure),
        ] {
            let Found { checks, gpu } = judge(device, query, String::new);
            assert!(checks.len() == 1 && !gpu, "{checks:?}");
            assert_eq!(checks[0].verdict, verdict, "{checks:?}");
        }
        assert_eq!(look(Device::Cpu).checks[0].verdict, Verdict::Ok);
    }

    #[test]
    fn with_auto_no_gpu_keeps_a_worker_from_running() {
        assert_eq!(soften(Check::failure("driver", "535", "newer")).verdict, Verdict::Warning);
        assert_eq!(soften(Check::ok("driver", "580")).verdict, Verdict::Ok);
    }

    #[test]
    fn the_cuda_version_stands_in_the_banner() {
        assert_eq!(cuda_of(BANNER).as_deref(), Some("13.0"));
        assert_eq!(cuda_of("no table"), None);
    }
}
