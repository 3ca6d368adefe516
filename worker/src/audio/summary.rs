//! What is worth telling about a file that was decoded.

use std::fmt;

/// Most spans that a warning names.
const SPANS_MAX: usize = 20;

/// A stretch of time in the source, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Start.
    pub start_s: f64,
    /// End.
    pub end_s: f64,
}

/// Stretches of time, joined where they touch, the first few by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spans {
    named: Vec<Span>,
    more: u64,
    total_s: f64,
}

/// What was odd about the audio. The text of each is for a person.
#[derive(Debug, Clone, PartialEq)]
pub enum AudioWarning {
    /// Packets could not be decoded; silence stands in for them.
    Damaged {
        /// The first spans.
        spans: Vec<Span>,
        /// How many more there are.
        more: u64,
        /// All of them, seconds.
        total_s: f64,
    },
    /// The container has no audio for these times; silence stands in.
    Missing {
        /// The first spans.
        spans: Vec<Span>,
        /// How many more there are.
        more: u64,
        /// All of them, seconds.
        total_s: f64,
    },
    /// The file ends too early.
    CutShort {
        /// Where it ends, seconds.
        at_s: f64,
        /// Where it should end, when it says so.
        declared_s: Option<f64>,
    },
    /// The container cannot be followed any further.
    Broken {
        /// Where, seconds.
        at_s: f64,
        /// Why.
        reason: String,
    },
    /// Samples that are not numbers, or no possible sound, were replaced by silence.
    NotNumbers {
        /// How many samples.
        samples: u64,
    },
    /// Samples above full scale; the level was lowered.
    OverRange {
        /// The highest, as a multiple of full scale.
        peak: f32,
    },
    /// HE-AAC: only the core band was decoded, the treble is missing.
    CoreOnly {
        /// Sample rate of the core, hertz.
        core_rate_hz: u32,
    },
    /// Channels came or went in a chained stream (with channels kept separate).
    ChannelsChanged {
        /// Where, seconds.
        at_s: f64,
        /// How many there are from here.
        channels: usize,
    },
    /// Bytes behind the samples that belong to nothing in the header.
    UnexplainedBytes {
        /// How many.
        bytes: u64,
    },
}

/// What is known at the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AudioSummary {
    /// Length of the audio by its decoded samples, seconds.
    pub duration_s: f64,
    /// Samples at 16 kHz that came out, per output.
    pub samples: u64,
    /// How much of it is silence in place of damage, seconds.
    pub damaged_s: f64,
    /// What was odd.
    pub warnings: Vec<AudioWarning>,
}

impl Spans {
    /// Adds a span that starts at or behind the last one.
    pub(super) fn add(&mut self, start_s: f64, end_s: f64) {
        self.total_s += end_s - start_s;
        let is_full = self.named.len() >= SPANS_MAX;
        match self.named.last_mut() {
            // Less than a packet between them: one span.
            Some(last) if self.more == 0 && start_s - last.end_s < 0.03 => last.end_s = end_s,
            _ if is_full => self.more += 1,
            _ => self.named.push(Span { start_s, end_s }),
        }
    }

    /// All of it, seconds.
    pub(super) fn total_s(&self) -> f64 {
        self.total_s
    }

    /// Whether it is nothing but a short stretch at the start.
    pub(super) fn is_lead_in(&self, longest_s: f64) -> bool {
        self.more == 0 && self.named.len() == 1 && self.named[0].end_s <= longest_s
    }

    pub(super) fn damaged(&self) -> Option<AudioWarning> {
        let Self { named, more, total_s } = self.clone();
        (!named.is_empty()).then_some(AudioWarning::Damaged { spans: named, more, total_s })
    }

    pub(super) fn missing(&self) -> Option<AudioWarning> {
        let Self { named, more, total_s } = self.clone();
        (!named.is_empty()).then_some(AudioWarning::Missing { spans: named, more, total_s })
    }
}

fn write_spans(f: &mut fmt::Formatter<'_>, spans: &[Span], more: u64) -> fmt::Result {
    for (index, span) in spans.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{:.2}-{:.2} s", span.start_s, span.end_s)?;
    }
    if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
}

impl fmt::Display for AudioWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { spans, more, total_s } => {
                write!(f, "damaged audio was replaced by {total_s:.2} s of silence: ")?;
                write_spans(f, spans, *more)
            }
            Self::Missing { spans, more, total_s } => {
                write!(f, "missing audio was replaced by {total_s:.2} s of silence: ")?;
                write_spans(f, spans, *more)
            }
            Self::CutShort { at_s, declared_s: Some(declared_s) } => {
                write!(f, "the file ends at {at_s:.2} s of the {declared_s:.2} s that it declares")
            }
            Self::CutShort { at_s, declared_s: None } => write!(f, "the file was cut short at {at_s:.2} s"),
            Self::Broken { at_s, reason } => {
                write!(f, "the file cannot be read beyond {at_s:.2} s: {reason}")
            }
            Self::NotNumbers { samples } => {
                write!(f, "samples that are not numbers were replaced by silence: {samples}")
            }
            Self::OverRange { peak } => {
                write!(f, "samples exceed full scale, so the level was lowered: up to {peak:.1} times")
            }
            Self::CoreOnly { core_rate_hz } => {
                write!(f, "HE-AAC was decoded without its treble, at {core_rate_hz} Hz")
            }
            Self::ChannelsChanged { at_s, channels } => {
                write!(f, "the number of channels changes at {at_s:.2} s: {channels}")
            }
            Self::UnexplainedBytes { bytes } => {
                write!(f, "bytes behind the samples belong to no chunk and were left out: {bytes}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_spans_join_and_many_are_counted() {
        let mut spans = Spans::default();
        spans.add(1.0, 1.026);
        spans.add(1.026, 1.052);
        assert_eq!(
            spans.damaged().unwrap().to_string(),
            "damaged audio was replaced by 0.05 s of silence: 1.00-1.05 s"
        );
        for n in 0..30 {
            spans.add(10.0 + f64::from(n), 10.5 + f64::from(n));
        }
        let Some(AudioWarning::Damaged { spans: named, more, total_s }) = spans.damaged() else {
            panic!("no warning");
        };
        assert_eq!((named.len(), more), (SPANS_MAX, 11));
        assert!((total_s - 15.052).abs() < 1e-9);
        assert_eq!(Spans::default().missing(), None);
    }
}
