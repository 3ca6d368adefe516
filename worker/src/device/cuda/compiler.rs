//! NVRTC's functions, out of the library that was loaded by its path: a toolkit on the machine may have another one, and who
//! asks the loader for NVRTC by a name may get that.
#![allow(unsafe_code)] // NVRTC's C interface.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use super::error::CudaError;
use super::libraries::Library;

/// CUDA's major version, of which the pinned libraries are.
const MAJOR: c_int = 13;

type Program = *mut c_void;
type Texts = *const *const c_char;
type Length = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Content = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// See the module. Results are numbers, 0 for success.
pub(super) struct Compiler {
    version: (c_int, c_int),
    count: unsafe extern "C" fn(*mut c_int) -> c_int,
    architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    create: unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, Texts, Texts) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, Texts) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log: (Length, Content),
    ptx: (Length, Content),
    code: (Length, Content),
    describe: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// What becomes of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Machine code, for `sm_N`.
    Machine,
    /// PTX, for `compute_N`.
    Ptx,
}

impl Compiler {
    /// Finds the functions in NVRTC.
    ///
    /// # Errors
    /// [`CudaError::Library`] when one is missing or the library is of another CUDA.
    pub fn of(library: &Library) -> Result<Self, CudaError> {
        // SAFETY: the types are those of `nvrtc.h` of CUDA 13; enumerations are plain integers there, programs pointers.
        let found = unsafe {
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int =
                library.function(c"nvrtcVersion")?;
            let (mut major, mut minor) = (0, 0);
            if version(&raw mut major, &raw mut minor) != 0 || major != MAJOR {
                return Err(library.refused(format!("it is of CUDA {major}.{minor}, not of CUDA {MAJOR}")));
            }
            Self {
                version: (major, minor),
                count: library.function(c"nvrtcGetNumSupportedArchs")?,
                architectures: library.function(c"nvrtcGetSupportedArchs")?,
                create: library.function(c"nvrtcCreateProgram")?,
                compile: library.function(c"nvrtcCompileProgram")?,
                destroy: library.function(c"nvrtcDestroyProgram")?,
                log: (library.function(c"nvrtcGetProgramLogSize")?, library.function(c"nvrtcGetProgramLog")?),
                ptx: (library.function(c"nvrtcGetPTXSize")?, library.function(c"nvrtcGetPTX")?),
                code: (library.function(c"nvrtcGetCUBINSize")?, library.function(c"nvrtcGetCUBIN")?),
                describe: library.function(c"nvrtcGetErrorString")?,
            }
        };
        Ok(found)
    }

    /// What the compiler calls itself.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// The architectures that it knows, as `90` for sm_90, ascending.
    pub fn architectures(&self) -> Result<Vec<i32>, CudaError> {
        let refused = |said| failed("any", said);
        let mut count: c_int = 0;
        // SAFETY: a pointer of an integer that lives.
        self.judge(unsafe { (self.count)(&raw mut count) }).map_err(refused)?;
        let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: the list has as many places as the call before said.
        self.judge(unsafe { (self.architectures)(known.as_mut_ptr()) }).map_err(refused)?;
        known.sort_unstable();
        Ok(known)
    }

    /// Compiles a source; `arch` names the architecture in errors.
    pub fn compile(
        &self,
        arch: &str,
        source: &str,
        options: &[String],
        form: Form,
    ) -> Result<Vec<u8>, CudaError> {
        let refused = |said| failed(arch, said);
        let text = |text: &str| CString::new(text).map_err(|_| refused("a zero stands in it".to_owned()));
        let source = text(source)?;
        let options: Vec<CString> = options.iter().map(|option| text(option)).collect::<Result<_, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        let (none, name) = (std::ptr::null(), c"rollcall.cu".as_ptr());
        // SAFETY: the texts end with zeros and live; there are no headers.
        let made = unsafe { (self.create)(&raw mut program, source.as_ptr(), name, 0, none, none) };
        self.judge(made).map_err(refused)?;
        // SAFETY: the program was just made; as many options as are said, and they live.
        let compiled = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        let code = self.judge(compiled).map_err(|said| {
            let log = self.content(program, self.log).unwrap_or_default();
            format!("{said}: {}", String::from_utf8_lossy(&log).trim_matches(['\0', '\n', ' ']))
        });
        let how = if form == Form::Machine { self.code } else { self.ptx };
        let code = code.and_then(|()| self.content(program, how));
        // SAFETY: it lives, and nobody uses it afterwards.
        let _ = unsafe { (self.destroy)(&raw mut program) };
        code.map_err(refused)
    }

    fn content(&self, program: Program, how: (Length, Content)) -> Result<Vec<u8>, String> {
        let mut bytes = 0usize;
        // SAFETY: `compile` gives a program that lives; the pointer is of a number that lives.
        self.judge(unsafe { how.0(program, &raw mut bytes) })?;
        let mut content = vec![0u8; bytes];
        // SAFETY: there is room for as many bytes as the call before said.
        self.judge(unsafe { how.1(program, content.as_mut_ptr().cast()) })?;
        Ok(content)
    }

    /// What the library says of a result that is no success.
    fn judge(&self, result: c_int) -> Result<(), String> {
        if result == 0 {
            return Ok(());
        }
        // SAFETY: it takes any number, and gives a text of the library's own that ends with a zero.
        let said = unsafe { (self.describe)(result) };
        if said.is_null() {
            return Err(format!("unknown error {result}"));
        }
        // SAFETY: as above.
        Err(unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned())
    }
}

/// Kernels that there will not be.
pub(super) fn failed(arch: &str, detail: String) -> CudaError {
    CudaError::Kernels { arch: arch.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::super::libraries;
    use super::*;

    /// A library of that name that only says which version it is; `None` without a compiler.
    fn nvrtc_of(major: i32) -> Option<Result<Compiler, CudaError>> {
        let folder = tempfile::tempdir().unwrap();
        let (source, library) = (folder.path().join("a.c"), folder.path().join("libnvrtc.so.13"));
        let text = format!("int nvrtcVersion(int *a, int *b) {{ *a = {major}; *b = 4; return 0; }}");
        std::fs::write(&source, text).unwrap();
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .output();
        match built {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                eprintln!("SKIPPED: there is no C compiler: {error}");
                return None;
            }
        }
        let library = libraries::load_nvrtc(&[folder.path().to_owned()]).unwrap();
        Some(Compiler::of(&library))
    }

    #[test]
    fn another_cuda_is_refused_and_so_is_a_library_without_the_functions() {
        let (Some(old), Some(bare)) = (nvrtc_of(12), nvrtc_of(13)) else { return };
        let said = |outcome: Result<Compiler, CudaError>| outcome.err().map(|error| error.to_string());
        let old = said(old).expect("it is of another CUDA");
        assert!(
            old.contains("libnvrtc.so.13") && old.contains("it is of CUDA 12.4, not of CUDA 13"),
            "{old}"
        );
        let bare = said(bare).expect("it has one function");
        assert!(bare.contains("nvrtcGetNumSupportedArchs"), "{bare}");
    }
}
