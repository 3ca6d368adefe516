//! Text from outside, made fit for one line of a terminal or a text file.
//!
//! Invariant: what is returned has no control characters (so no escape sequences and no line breaks), no marks that
//! reverse or isolate the direction of what follows, and no outer white space.

/// One line of printable text: white space becomes single spaces, control and direction characters become `·`.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_whitespace() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else if c.is_control() || is_direction_mark(c) {
            out.push('·');
        } else {
            out.push(c);
        }
    }
    out
}

/// A path for a person: as [`one_line`], but white space is kept, so that what is shown can be copied.
#[must_use]
pub fn path(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_direction_mark(c) { '·' } else { c }).collect()
}

/// [`one_line`], cut to `width_max` characters with `…` at the end where something was left off.
#[must_use]
pub fn at_most(text: &str, width_max: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= width_max {
        return line;
    }
    let mut cut: String = line.chars().take(width_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The characters that change the direction of text around them (Unicode Standard Annex 9).
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_as_a_command() {
        assert_eq!(one_line("  a\n\tb \u{1b}[31mred\u{7}\r\n"), "a b ·[31mred·");
        assert_eq!(one_line("x\u{202e}y\u{9b}z\u{2028}w"), "x·y·z w");
    }

    #[test]
    fn a_path_keeps_its_spaces_and_commands_nothing() {
        assert_eq!(path(" a  b.wav"), " a  b.wav");
        assert_eq!(path("a\n\u{1b}]0;x\u{7}\u{202e}gpj.wav"), "a··]0;x··gpj.wav");
    }

    #[test]
    fn a_long_name_is_cut_where_it_ends() {
        assert_eq!(at_most("Grüße", 5), "Grüße");
        assert_eq!(at_most("Grüße!", 5), "Grüß…");
    }
}
