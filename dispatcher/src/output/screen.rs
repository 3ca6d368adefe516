//! The same text again and again: drawn over itself on a terminal, one after the other elsewhere.

use std::io::{self, IsTerminal as _};

use super::print;

/// A text that changes.
pub struct Screen {
    redraws: bool,
    /// Lines on the screen that the next text replaces.
    lines: usize,
}

impl Screen {
    /// On stdout; `appends` never draws over what is there.
    #[must_use]
    pub fn new(appends: bool) -> Self {
        Self { redraws: !appends && io::stdout().is_terminal(), lines: 0 }
    }

    /// Shows the text.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        let before = std::mem::replace(&mut self.lines, text.lines().count());
        print(&if self.redraws { over(text, before) } else { text.to_owned() })
    }
}

/// Up by as many lines as there were, then each line followed by clearing its rest, then everything below cleared.
fn over(text: &str, lines_before: usize) -> String {
    let mut out = if lines_before > 0 { format!("\u{1b}[{lines_before}A") } else { String::new() };
    for line in text.lines() {
        out.push_str(line);
        out.push_str("\u{1b}[K\n");
    }
    out.push_str("\u{1b}[J");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_drawn_over_the_one_before() {
        assert_eq!(over("a\nb\n", 0), "a\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
        assert_eq!(over("c\n", 2), "\u{1b}[2Ac\u{1b}[K\n\u{1b}[J");
    }
}
