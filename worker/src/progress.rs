//! What a person sees while recordings are worked on: bars on a terminal, a line now and then elsewhere.

use std::io::{self, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::job::failure::{Failure, Stage};
use common::speech::render::printable;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::recording::{Progress, Watch};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress of several recordings on stderr.
pub struct Display {
    bars: MultiProgress,
    terminal: bool,
    began: Instant,
}

/// The line of one recording.
pub struct Line<'a> {
    display: &'a Display,
    name: String,
    bar: ProgressBar,
    began: Instant,
    last_line: Mutex<Instant>,
}

impl Display {
    /// A display on stderr; bars only where `terminal`.
    #[must_use]
    pub fn new(terminal: bool) -> Self {
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), terminal, began: Instant::now() }
    }

    /// A line for one recording.
    #[must_use]
    pub fn line(&self, name: &str) -> Line<'_> {
        let bar = self.bars.add(ProgressBar::new(0));
        // One second of audio is one unit; `{msg}` holds the stage and the speed.
        if let Ok(style) = ProgressStyle::with_template("  {prefix:24!} {bar:24} {percent:>3} %  {msg}") {
            bar.set_style(style.progress_chars("━╸ "));
        }
        let name = printable::path(name);
        bar.set_prefix(name.clone());
        let now = Instant::now();
        Line { display: self, name, bar, began: now, last_line: Mutex::new(now) }
    }

    /// A line of text that does not tear the bars.
    pub fn say(&self, text: &str) {
        if self.terminal {
            // An error means that stderr is gone, and with it the reader.
            let _ = self.bars.println(text);
        } else {
            line_on_stderr(text);
        }
    }

    /// Time since the display was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Line<'_> {
    /// Removes the bar and leaves `text` in its place.
    pub fn finish(&self, text: &str) {
        self.bar.finish_and_clear();
        self.display.say(text);
    }
}

impl Watch for Line<'_> {
    fn progress(&self, progress: Progress) {
        let speed = progress.audio_s / self.began.elapsed().as_secs_f64().max(1e-3);
        let left = progress.total_s.map(|total| (total - progress.audio_s).max(0.0) / speed.max(1e-3));
        let text = match left {
            Some(left_s) if progress.stage != Stage::Clustering => {
                format!("{}  {speed:.0}x  {left_s:.0} s left", stage_name(progress.stage))
            }
            _ => format!("{}  {speed:.0}x", stage_name(progress.stage)),
        };
        if self.display.terminal {
            self.bar.set_length(progress.total_s.unwrap_or(progress.audio_s).ceil() as u64);
            self.bar.set_position(progress.audio_s as u64);
            self.bar.set_message(text);
        } else if let Ok(mut last) = self.last_line.lock()
            && last.elapsed() >= LINE_EVERY
        {
            *last = Instant::now();
            let total = progress.total_s.map_or_else(String::new, |t| format!(" of {t:.0}"));
            line_on_stderr(&format!("{}: {:.0}{total} s  {text}", self.name, progress.audio_s));
        }
    }

    fn stop(&self) -> Option<Failure> {
        None
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Fetch => "reading",
        Stage::Decode | Stage::Segmentation | Stage::Embedding => "listening",
        Stage::Clustering => "clustering",
        Stage::Render | Stage::Store => "writing",
    }
}

/// Where progress goes when there is no terminal. Nobody may be reading it, and the work goes on.
pub fn line_on_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
