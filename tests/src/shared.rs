//! Recorded references and labelled recordings that may lie beside the checkout.

use std::path::{Path, PathBuf};

/// The folder `shared` beside the checkout (or `ROLLCALL_SHARED`), joined with `part`; `None`, said aloud, when absent.
#[must_use]
#[allow(clippy::print_stderr, reason = "a skipped test has to say so")]
pub fn shared(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ROLLCALL_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: needs {part}, and there is no {}", path.display());
    None
}
