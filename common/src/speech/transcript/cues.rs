//! SRT (as SubRip writes it and players read it) and VTT (W3C WebVTT).
//!
//! Both are lists of cues parted by blank lines. Styling is taken off, because a segment's text is what was said.

use super::{Limits, Segment, TranscriptError, parse_clock};
use crate::speech::render::printable::{at_most, one_line};
use crate::speech::time::Millis;

/// What parts the two times of a cue.
const ARROW: &str = "-->";
/// Characters of a strange line that an error shows.
const SHOWN_MAX: usize = 60;
/// Longest SRT tag; without a bound a line of `<` would take time with its square.
const TAG_BYTES_MAX: usize = 200;

/// Cues under construction.
struct Cues {
    limits: Limits,
    segments: Vec<Segment>,
}

impl Cues {
    fn begin(&mut self, (start, end): (Millis, Millis)) -> Result<(), TranscriptError> {
        if self.segments.len() == self.limits.segments_max {
            return Err(TranscriptError::TooMany { what: "segments", max: self.limits.segments_max });
        }
        let segment = self.segments.len() + 1;
        if end < start {
            let (start, end) = (start.decimal(), end.decimal());
            return Err(TranscriptError::Backwards { segment, start, end });
        }
        self.segments.push(Segment { start, end, text: String::new(), words: Vec::new() });
        Ok(())
    }

    /// Adds a line of text to the last cue; the lines of a cue become one. `false` when there is no cue yet.
    fn text(&mut self, line: &str) -> bool {
        let Some(last) = self.segments.last_mut() else { return false };
        let line = one_line(line);
        if !last.text.is_empty() && !line.is_empty() {
            last.text.push(' ');
        }
        last.text.push_str(&line);
        true
    }
}

/// Reads SRT. A cue's number may be missing, and a blank line inside a cue's text does not end it, since both are
/// common: a cue goes on until the next line of times.
pub(super) fn read_srt(text: &str, limits: Limits) -> Result<Vec<Segment>, TranscriptError> {
    let mut cues = Cues { limits, segments: Vec::new() };
    let mut after_blank = true;
    for (index, line) in text.split('\n').enumerate() {
        let (number, line) = (index + 1, line.trim());
        let is_number = || line.bytes().all(|b| b.is_ascii_digit());
        if line.is_empty() {
            after_blank = true;
        } else if let Some(times) = times(line) {
            cues.begin(times)?;
            after_blank = false;
        } else if after_blank && line.contains(ARROW) {
            return Err(TranscriptError::Timing { line: number, value: at_most(line, SHOWN_MAX) });
        } else if after_blank && is_number() {
            // The number of the next cue; a broken line of times below it is still an error.
        } else if cues.text(&without_srt_tags(line)) {
            after_blank = false;
        } else {
            return Err(outside(number, line));
        }
    }
    let lines = || text.split('\n').enumerate();
    match lines().find(|(_, line)| !line.trim().is_empty()) {
        // Nothing but numbers.
        Some((index, line)) if cues.segments.is_empty() => Err(outside(index + 1, line)),
        _ => Ok(cues.segments),
    }
}

fn outside(line: usize, value: &str) -> TranscriptError {
    TranscriptError::OutsideCue { line, value: at_most(value, SHOWN_MAX) }
}

/// Reads VTT. Blocks that are not cues (the header, notes, styles, regions) are passed over, as the standard says.
pub(super) fn read_vtt(text: &str, limits: Limits) -> Result<Vec<Segment>, TranscriptError> {
    #[derive(PartialEq)]
    enum At {
        /// In the first block, which ends with a blank line, or where a cue begins.
        Header,
        /// Between two blocks.
        Gap,
        /// In the first line of a block that may turn out to be a cue: its name.
        Name,
        /// In a cue's text.
        Text,
        /// In a block that is no cue.
        Other,
    }
    let mut cues = Cues { limits, segments: Vec::new() };
    let mut at = At::Header;
    for (index, line) in text.split('\n').enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() {
            at = At::Gap;
        } else if at == At::Text {
            cues.text(&without_vtt_tags(line));
        } else if line.contains(ARROW) && at != At::Other {
            let times = times(line)
                .ok_or_else(|| TranscriptError::Timing { line: number, value: at_most(line, SHOWN_MAX) })?;
            cues.begin(times)?;
            at = At::Text;
        } else {
            let is_other = |word: &str| line.split_whitespace().next() == Some(word);
            let named = at == At::Gap && !["NOTE", "STYLE", "REGION"].into_iter().any(is_other);
            at = match at {
                At::Header => At::Header,
                _ if named => At::Name,
                _ => At::Other,
            };
        }
    }
    // Times, and none of them a cue's.
    let passed_over = || text.split('\n').enumerate().find(|(_, line)| line.contains(ARROW));
    match passed_over() {
        Some((index, line)) if cues.segments.is_empty() => {
            Err(TranscriptError::Timing { line: index + 1, value: at_most(line.trim(), SHOWN_MAX) })
        }
        _ => Ok(cues.segments),
    }
}

/// The two times of a line `from --> to`, whatever settings follow them.
fn times(line: &str) -> Option<(Millis, Millis)> {
    let (start, rest) = line.split_once(ARROW)?;
    Some((parse_clock(start.trim())?, parse_clock(rest.split_whitespace().next()?)?))
}

/// Takes off the tags that SRT players know (`<i>`, `<b>`, `<u>`, `<s>`, `<font …>`) and positions (`{\an8}`); any other
/// `<` is text.
fn without_srt_tags(line: &str) -> String {
    let known = |tag: &str| {
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or("");
        !tag.contains('<')
            && ["i", "b", "u", "s", "font"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['<', '{']) {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let close = if tag.starts_with('<') { b'>' } else { b'}' };
        match tag.bytes().take(TAG_BYTES_MAX).position(|byte| byte == close) {
            Some(end) if (close == b'>' && known(&tag[1..end])) || tag[1..].starts_with('\\') => {
                rest = &tag[end + 1..];
            }
            _ => {
                out.push_str(&tag[..1]);
                rest = &tag[1..];
            }
        }
    }
    out + rest
}

/// Takes off every tag (in VTT a bare `<` always begins one) and resolves the character references of the standard.
fn without_vtt_tags(line: &str) -> String {
    const REFERENCES: [(&str, &str); 6] =
        [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&lrm;", ""), ("&rlm;", "")];
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, special) = rest.split_at(at);
        out.push_str(before);
        rest = if special.starts_with('<') {
            special.find('>').map_or("", |end| &special[end + 1..])
        } else if let Some((name, text)) = REFERENCES.iter().find(|(name, _)| special.starts_with(name)) {
            out.push_str(text);
            &special[name.len()..]
        } else {
            out.push('&');
            &special[1..]
        };
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styling_is_taken_off() {
        assert_eq!(without_srt_tags("{\\an8}<i>Hi</i> <FONT color=\"red\">you</font>"), "Hi you");
        assert_eq!(without_srt_tags("a < b <script> {x} <i"), "a < b <script> {x} <i");
        assert_eq!(
            without_vtt_tags("<v Ann>a &lt;b&gt; &amp;amp; <00:01.000><c.x>c</c> & d"),
            "a <b> &amp; c & d"
        );
        assert_eq!(without_vtt_tags("a <b"), "a ");
    }

    #[test]
    fn times_of_a_line() {
        let millis = |a, b| Some((Millis::new(a), Millis::new(b)));
        assert_eq!(times("00:00:01,200 --> 00:00:02,5"), millis(1_200, 2_500));
        assert_eq!(times("01:02.003-->100:00:00.000 align:start"), millis(62_003, 360_000_000));
        for line in ["00:00:01,200 -> 00:00:02,5", "1 --> 2", "00:60:00 --> 01:00:00", "a --> b", "-->"] {
            assert_eq!(times(line), None, "{line}");
        }
    }
}
