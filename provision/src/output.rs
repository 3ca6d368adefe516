//! The only user of stdout and stderr.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::installed::Installed;
use crate::progress::Progress;
use crate::verify;

/// How often the sign of life moves while a step runs.
const TICK: Duration = Duration::from_millis(120);

/// Steps on stderr: a line each, and on a terminal a sign of life while the last one runs.
#[derive(Debug)]
pub struct Steps {
    began: Instant,
    bar: Mutex<Option<ProgressBar>>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { began: Instant::now(), bar: Mutex::new(None) }
    }
}

impl Progress for Steps {
    fn step(&self, text: &str) {
        let line = format!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64());
        let mut bar = self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(previous) = bar.take() {
            previous.finish_and_clear();
        }
        // A closed stderr is no reason to stop.
        _ = writeln!(io::stderr(), "{line}");
        if io::stderr().is_terminal() {
            let next = ProgressBar::new_spinner();
            next.enable_steady_tick(TICK);
            *bar = Some(next);
        }
    }

    fn moved(&self, bytes: u64, of: u64) {
        let bar = self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(bar) = &*bar {
            bar.set_message(format!("{:.1} of {:.1} MB", bytes as f64 / 1e6, of as f64 / 1e6));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let bar = self.bar.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A line on stdout.
///
/// # Errors
/// When stdout is closed.
pub fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// A failure, what caused it, and what to try, on stderr.
pub fn failure(failure: &Failure) {
    let mut text = format!("error: {failure}\n");
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(&format!("  caused by: {error}\n"));
        cause = error.source();
    }
    for hint in failure.hints() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    // A closed stderr leaves the exit code.
    _ = io::stderr().write_all(text.as_bytes());
}

/// The installed bundles, as a table or as one JSON object a line.
///
/// # Errors
/// When stdout is closed.
pub fn bundles(bundles: &[Installed], json: bool) -> io::Result<()> {
    for bundle in bundles {
        let manifest = verify::manifest(&bundle.folder).ok();
        let bytes =
            manifest.as_ref().map(|manifest| manifest.files.iter().map(|file| file.bytes).sum::<u64>());
        let tested = manifest.as_ref().is_some_and(|manifest| manifest.selftest.is_some());
        let text = if json {
            serde_json::json!({
                "name": bundle.name, "version": bundle.version, "current": bundle.current,
                "bytes": bytes, "tested": tested, "folder": bundle.folder.to_string_lossy(),
            })
            .to_string()
        } else {
            let size = bytes
                .map_or("manifest unreadable".to_owned(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
            let mark = if bundle.current { '*' } else { ' ' };
            let tested = if tested { "tested" } else { "untested" };
            format!(
                "{mark} {}@{}  {size}  {tested}  {}",
                bundle.name,
                bundle.version,
                bundle.folder.display()
            )
        };
        line(&text)?;
    }
    Ok(())
}
