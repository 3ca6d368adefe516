//! Our kernels, compiled for a card when a worker starts, and kept.
//!
//! To machine code, not to PTX: a driver accepts machine code of any CUDA of its major version, but PTX only of its own
//! version or earlier ones.
#![allow(unsafe_code)] // NVRTC's C interface.

use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::path::{Path, PathBuf};

use cudarc::nvrtc::{result, sys};
use sha2::{Digest as _, Sha256};

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

/// What the compiler calls itself; its library has to be loaded.
pub(super) fn version() -> Result<(i32, i32), CudaError> {
    present()?;
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: pointers of integers that live.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(|error| failed("any", error.to_string()))?;
    Ok((major, minor))
}

/// The architectures that the compiler knows, as `90` for sm_90, ascending.
pub(super) fn architectures() -> Result<Vec<i32>, CudaError> {
    present()?;
    let mut count: c_int = 0;
    let refused = |error: result::NvrtcError| failed("any", error.to_string());
    // SAFETY: a pointer of an integer that lives.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(refused)?;
    let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the list has as many places as the call before said.
    unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(refused)?;
    known.sort_unstable();
    Ok(known)
}

/// The architecture to compile for: the newest one that the compiler knows and the card runs.
#[must_use]
pub(super) fn architecture_for((major, minor): (i32, i32), known: &[i32]) -> Option<i32> {
    let card = 10 * major + minor;
    // Machine code runs on cards of the same major number and an equal or higher minor one.
    known.iter().copied().filter(|arch| arch / 10 == major && *arch <= card).max()
}

/// The kernels as machine code for an architecture (`sm_90`), from a folder of earlier ones or compiled now.
pub(super) fn code(cache: &Path, arch: &str, lengths: Lengths) -> Result<Vec<u8>, CudaError> {
    let options = options(arch, lengths);
    let (major, minor) = version()?;
    let key = Sha256::digest(format!("{SOURCE}\0{}\0{major}.{minor}", options.join(" ")));
    let path = cache.join(format!("{}.cubin", hex(&key)));
    if let Some(code) = kept(&path) {
        return Ok(code);
    }
    let code = compile(arch, &options)?;
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

fn present() -> Result<(), CudaError> {
    // SAFETY: only loads the library.
    if unsafe { sys::is_culib_present() } {
        Ok(())
    } else {
        Err(failed("any", "NVRTC is not loaded".to_owned()))
    }
}

fn failed(arch: &str, detail: String) -> CudaError {
    CudaError::Kernels { arch: arch.to_owned(), detail }
}

/// Compiles the source for `sm_N` (machine code) or `compute_N` (PTX).
pub(super) fn compile(arch: &str, options: &[String]) -> Result<Vec<u8>, CudaError> {
    present()?;
    let refused = |error: result::NvrtcError| failed(arch, error.to_string());
    let source = CString::new(SOURCE).map_err(|_| failed(arch, "the source has a zero in it".to_owned()))?;
    let program = result::create_program(&source, Some(c"rollcall.cu")).map_err(refused)?;
    // SAFETY: the program was just made; it is destroyed below, once, and the source outlives it.
    let outcome = unsafe { result::compile_program(program, options) };
    let code = outcome.map_err(|error| {
        // SAFETY: the program lives.
        let log = unsafe { result::get_program_log(program) }.unwrap_or_default();
        let log: Vec<u8> = log.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect();
        failed(arch, format!("{error}: {}", String::from_utf8_lossy(&log).trim()))
    });
    let code = code.and_then(|()| machine_code(program, arch.starts_with("sm_")).map_err(refused));
    // SAFETY: it lives, and nobody uses it afterwards.
    let _ = unsafe { result::destroy_program(program) };
    code
}

fn machine_code(program: sys::nvrtcProgram, machine: bool) -> Result<Vec<u8>, result::NvrtcError> {
    if !machine {
        // SAFETY: the program lives and is compiled.
        return unsafe { result::get_ptx(program) }.map(|ptx| ptx.into_iter().map(|c| c as u8).collect());
    }
    let mut bytes = 0usize;
    // SAFETY: the program lives; the pointer is of a number that lives.
    unsafe { sys::nvrtcGetCUBINSize(program, &raw mut bytes) }.result()?;
    let mut code = vec![0u8; bytes];
    // SAFETY: there is room for as many bytes as the call before said.
    unsafe { sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast::<c_char>()) }.result()?;
    Ok(code)
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
    libraries::load_nvrtc(folders)?;
    let (major, minor) = version()?;
    let known = architectures()?;
    let all = archs.iter().map(|arch| {
        if known.contains(arch) {
            try_out(*arch, Lengths::USUAL)
        } else {
            Err(failed(&format!("sm_{arch}"), format!("NVRTC {major}.{minor} knows {known:?}")))
        }
    });
    Ok((format!("NVRTC {major}.{minor}"), all.collect::<Result<_, _>>()?))
}

/// Compiles for an architecture in both forms.
pub(super) fn try_out(arch: i32, lengths: Lengths) -> Result<Compiled, CudaError> {
    let (sm, compute) = (format!("sm_{arch}"), format!("compute_{arch}"));
    let code = compile(&sm, &options(&sm, lengths))?;
    let ptx = compile(&compute, &options(&compute, lengths))?;
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
