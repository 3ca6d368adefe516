//! Our kernels, compiled for a card when a worker starts, and kept.
//!
//! To machine code, not to PTX: a driver accepts machine code of any CUDA of its major version, but PTX only of its own
//! version or earlier ones.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::compiler::{Compiler, Form, failed};
use super::error::CudaError;
use super::libraries;
use crate::device::bundle::hex;
use crate::diarize::fbank::Tables;

/// All kernels, as one source.
pub(super) const SOURCE: &str = concat!(
    include_str!("kernels/gather.cu"),
    include_str!("kernels/fbank.cu"),
    include_str!("kernels/pooling.cu")
);
/// Their names.
pub(super) const KERNELS: [&str; 5] = ["gather", "fbank", "centre", "pool", "project"];
/// Largest machine code that is read back, bytes; ours has some ten thousand.
const CODE_BYTES_MAX: u64 = 16 << 20;

/// Lengths that are fixed when the kernels are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    pub frame: usize,
    pub frame_step: usize,
    pub fft: usize,
    pub bins: usize,
}

impl Lengths {
    /// Those of WeSpeaker's features; also for bundles without features, where nobody asks.
    pub const USUAL: Self = Self { frame: 400, frame_step: 160, fft: 512, bins: 80 };

    pub fn of(tables: &Tables<'_>) -> Self {
        let bins = tables.triangles.len();
        Self { frame: tables.frame, frame_step: tables.frame_step, fft: tables.fft_size, bins }
    }
}

/// The compiler's options. No contraction into fused operations: the reference has none.
fn options(arch: &str, lengths: Lengths) -> Vec<String> {
    let Lengths { frame, frame_step, fft, bins } = lengths;
    vec![
        format!("--gpu-architecture={arch}"),
        "--fmad=false".to_owned(),
        "--std=c++17".to_owned(),
        format!("-DFRAME={frame}"),
        format!("-DFRAME_STEP={frame_step}"),
        format!("-DFFT={fft}"),
        format!("-DBINS={bins}"),
    ]
}

/// The architecture to compile for: the newest one that the compiler knows and the card runs.
#[must_use]
pub(super) fn architecture_for((major, minor): (i32, i32), known: &[i32]) -> Option<i32> {
    let card = 10 * major + minor;
    // Machine code runs on cards of the same major number and an equal or higher minor one.
    known.iter().copied().filter(|arch| arch / 10 == major && *arch <= card).max()
}

/// The kernels as machine code for an architecture (`sm_90`), from a folder of earlier ones or compiled now.
pub(super) fn code(
    compiler: &Compiler,
    cache: &Path,
    arch: &str,
    lengths: Lengths,
) -> Result<Vec<u8>, CudaError> {
    let options = options(arch, lengths);
    let (major, minor) = compiler.version();
    let key = Sha256::digest(format!("{SOURCE}\0{}\0{major}.{minor}", options.join(" ")));
    let path = cache.join(format!("{}.cubin", hex(&key)));
    if let Some(code) = kept(&path) {
        return Ok(code);
    }
    let code = compiler.compile(arch, SOURCE, &options, Form::Machine)?;
    // Without a place to keep it, it is compiled again next time.
    if let Err(error) = keep(&path, &code) {
        tracing::debug!(%error, path = %path.display(), "the compiled kernels are not kept");
    }
    Ok(code)
}

/// What was kept, if it is whole: its digest stands behind it.
fn kept(path: &Path) -> Option<Vec<u8>> {
    if fs::metadata(path).ok()?.len() > CODE_BYTES_MAX {
        return None;
    }
    let mut bytes = fs::read(path).ok()?;
    let digest = bytes.split_off(bytes.len().checked_sub(32)?);
    (Sha256::digest(&bytes).as_slice() == digest).then_some(bytes)
}

/// Writes beside its place and renames, since several workers may start at once.
fn keep(path: &Path, code: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let digest = Sha256::digest(code);
    fs::write(&partial, [code, digest.as_slice()].concat())?;
    fs::rename(&partial, path)
}

/// What an architecture's kernels came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiled {
    /// `90` for sm_90.
    pub arch: i32,
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// Bytes of PTX.
    pub ptx_bytes: usize,
}

/// Compiles the kernels, with the lengths of common features, for each of the architectures (`90` for sm_90), without a card;
/// NVRTC comes from the folders. Gives what the compiler calls itself, and the sizes in bytes of machine code and PTX.
///
/// # Errors
/// [`CudaError::Library`] without NVRTC; [`CudaError::Kernels`].
pub fn try_out_all(folders: &[PathBuf], archs: &[i32]) -> Result<(String, Vec<Compiled>), CudaError> {
    let compiler = Compiler::of(&libraries::load_nvrtc(folders)?)?;
    let (major, minor) = compiler.version();
    let known = compiler.architectures()?;
    let all = archs.iter().map(|arch| {
        if known.contains(arch) {
            try_out(&compiler, *arch, Lengths::USUAL)
        } else {
            Err(failed(&format!("sm_{arch}"), format!("NVRTC {major}.{minor} knows {known:?}")))
        }
    });
    Ok((format!("NVRTC {major}.{minor}"), all.collect::<Result<_, _>>()?))
}

/// Compiles for an architecture in both forms.
fn try_out(compiler: &Compiler, arch: i32, lengths: Lengths) -> Result<Compiled, CudaError> {
    let (sm, compute) = (format!("sm_{arch}"), format!("compute_{arch}"));
    let code = compiler.compile(&sm, SOURCE, &options(&sm, lengths), Form::Machine)?;
    let ptx = compiler.compile(&compute, SOURCE, &options(&compute, lengths), Form::Ptx)?;
    let text = String::from_utf8_lossy(&ptx);
    match KERNELS.iter().find(|name| !text.contains(&format!(".entry {name}("))) {
        Some(missing) => Err(failed(&compute, format!("there is no kernel `{missing}` in it"))),
        None if code.is_empty() => Err(failed(&sm, "there is no machine code in it".to_owned())),
        None => Ok(Compiled { arch, code_bytes: code.len(), ptx_bytes: ptx.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_architecture_that_a_card_runs() {
        let known = [75, 80, 86, 87, 89, 90, 100, 103, 120];
        for (card, arch) in [
            ((7, 5), Some(75)),
            ((8, 0), Some(80)),
            ((8, 8), Some(87)),
            ((9, 0), Some(90)),
            ((10, 1), Some(100)),
            ((12, 1), Some(120)),
            ((11, 0), None),
            ((7, 0), None),
        ] {
            assert_eq!(architecture_for(card, &known), arch, "{card:?}");
        }
    }

    #[test]
    fn kept_code_is_used_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels/a.cubin");
        assert_eq!(kept(&path), None);
        keep(&path, b"machine code").unwrap();
        assert_eq!(kept(&path).as_deref(), Some(&b"machine code"[..]));
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(kept(&path), None);
        fs::write(&path, b"short").unwrap();
        assert_eq!(kept(&path), None);
    }
}
