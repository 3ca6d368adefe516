//! Who said what.
//!
//! The rules, all of them on whole milliseconds, as documents carry times:
//!
//! 1. A span belongs to the speaker whose exclusive turns overlap it longest; between equals, to the one who speaks
//!    first in it. A span of no length belongs to the turn that holds its instant.
//! 2. A segment without words goes whole to the speaker of its span, or to nobody (`UNKNOWN`) where nobody speaks.
//! 3. In a segment with words each word goes to the speaker of its own span. A word without times, or during which
//!    nobody speaks, goes with the word before it, and at the beginning with the first word that has a speaker. When no
//!    word has one, rule 2 holds.
//! 4. Where its words change speaker a segment is split. The first part begins where the segment does and the last ends
//!    where it does; in between, a part ends with its last word and begins with its first. The text is cut before the
//!    first word of each part; when the words do not occur in the text, a part's text is its words joined by spaces.

use super::{Segment, Transcript, Word};
use crate::speech::diarization::Diarization;
use crate::speech::result_document::SpokenSegment;
use crate::speech::time::Millis;

/// Gives every segment its speaker, splitting those whose words change speaker.
#[must_use]
pub fn join(transcript: &Transcript, diarization: &Diarization) -> Vec<SpokenSegment> {
    let lanes = Lanes::new(diarization);
    let mut spoken = Vec::with_capacity(transcript.segments.len());
    for segment in &transcript.segments {
        let runs = runs(&segment.words, &lanes);
        if runs.len() > 1 {
            split(segment, &runs, &mut spoken);
            continue;
        }
        let speaker = match runs.first() {
            Some(run) => Some(run.speaker),
            None => lanes.speaker(segment.start, segment.end),
        };
        let (start, end) = (segment.start, segment.end);
        spoken.push(SpokenSegment { start, end, text: segment.text.clone(), speaker });
    }
    spoken
}

/// The exclusive turns of each speaker, prepared so that any span is looked up in logarithmic time.
struct Lanes(Vec<Lane>);

/// One speaker's turns, sorted, none overlapping another.
#[derive(Default)]
struct Lane {
    turns: Vec<(Millis, Millis)>,
    /// Speech before each turn, milliseconds.
    speech: Vec<u64>,
}

impl Lane {
    /// Speech up to an instant, milliseconds.
    fn until(&self, at: Millis) -> u64 {
        let begun = self.turns.partition_point(|turn| turn.0 < at);
        match begun.checked_sub(1).map(|last| self.turns[last]) {
            Some((start, end)) => self.speech[begun - 1] + at.min(end).since(start).get(),
            None => 0,
        }
    }

    /// Where the speaker is first heard at or after an instant.
    fn first_after(&self, at: Millis) -> Option<Millis> {
        let next = self.turns.partition_point(|turn| turn.1 <= at);
        self.turns.get(next).map(|turn| turn.0.max(at))
    }
}

impl Lanes {
    fn new(diarization: &Diarization) -> Self {
        let mut lanes: Vec<Lane> = (0..diarization.speakers()).map(|_| Lane::default()).collect();
        for turn in diarization.exclusive() {
            let (start, end) = (Millis::from(turn.start), Millis::from(turn.end));
            if start < end {
                lanes[turn.speaker].turns.push((start, end));
            }
        }
        for lane in &mut lanes {
            let mut sum = 0;
            for (start, end) in &lane.turns {
                lane.speech.push(sum);
                sum += end.since(*start).get();
            }
        }
        Self(lanes)
    }

    /// Rule 1.
    fn speaker(&self, start: Millis, end: Millis) -> Option<usize> {
        // An instant is looked up as the millisecond that it begins.
        let end = end.max(Millis::new(start.get() + 1));
        let mut found: Option<(u64, Millis, usize)> = None;
        for (speaker, lane) in self.0.iter().enumerate() {
            let overlap = lane.until(end) - lane.until(start);
            let Some(first) = lane.first_after(start).filter(|_| overlap > 0) else { continue };
            let better = match found {
                None => true,
                Some((most, earliest, _)) => overlap > most || (overlap == most && first < earliest),
            };
            if better {
                found = Some((overlap, first, speaker));
            }
        }
        found.map(|(_, _, speaker)| speaker)
    }
}

/// Words in a row that one speaker says.
struct Run {
    speaker: usize,
    /// Index of its first word.
    first: usize,
    /// Index behind its last.
    end: usize,
}

/// Rule 3; empty when no word has a speaker.
fn runs(words: &[Word], lanes: &Lanes) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let speaker = word.span.and_then(|(start, end)| lanes.speaker(start, end));
        match (runs.last_mut(), speaker) {
            (Some(run), Some(speaker)) if run.speaker != speaker => {
                runs.push(Run { speaker, first: index, end: index + 1 });
            }
            (Some(run), _) => run.end = index + 1,
            (None, Some(speaker)) => runs.push(Run { speaker, first: 0, end: index + 1 }),
            (None, None) => {}
        }
    }
    runs
}

/// Rule 4.
fn split(segment: &Segment, runs: &[Run], spoken: &mut Vec<SpokenSegment>) {
    let cuts = places(segment);
    let mut start = segment.start;
    for (index, run) in runs.iter().enumerate() {
        let words = &segment.words[run.first..run.end];
        let mut spans = words.iter().filter_map(|word| word.span);
        if index > 0 {
            start = spans.clone().next().map_or(start, |span| span.0);
        }
        let last = index + 1 == runs.len();
        let end = if last { segment.end } else { spans.next_back().map_or(start, |span| span.1) };
        let text = match &cuts {
            Some(cuts) => {
                let from = if index == 0 { 0 } else { cuts[run.first] };
                let to = if last { segment.text.len() } else { cuts[run.end] };
                segment.text[from..to].trim().to_owned()
            }
            None => {
                let words: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
                words.join(" ")
            }
        };
        let end = end.max(start);
        spoken.push(SpokenSegment { start, end, text, speaker: Some(run.speaker) });
        start = end;
    }
}

/// Where each word begins in the segment's text, bytes; `None` when the words are not in it, one after another.
fn places(segment: &Segment) -> Option<Vec<usize>> {
    let mut at = 0;
    segment
        .words
        .iter()
        .map(|word| {
            let begin = at + segment.text[at..].find(&word.text)?;
            at = begin + word.text.len();
            Some(begin)
        })
        .collect()
}
