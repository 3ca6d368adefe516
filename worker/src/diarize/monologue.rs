//! A recording that may be one known voice throughout: what sparse looks at it say.
//!
//! Chunks that hardly overlap are segmented; of each, one window is embedded, and another one where the first leaves a
//! doubt. All has to agree: in no chunk do several people speak, every window is nearest to the same known voice, and the
//! mean of all windows is that voice. The first look that disagrees ends it, and the recording goes the full way.

use common::speech::diarization::Turn;
use common::speech::time::Seconds;
use common::speech::voice::Voice;

use super::geometry::Geometry;
use super::observations::to_unit_length;
use super::voices::nearest;

/// Seconds of a chunk that somebody else, or several people, may seem to speak: the network errs for moments.
const OTHERS_S_MAX: f64 = 0.25;
/// Seconds on either side of a chunk that its neighbours decide about: the network knows least there.
const MARGIN_S: f64 = 0.5;
/// Chunks whose voice has to have been looked at.
const LOOKS_MIN: usize = 3;
/// Most speech in all whose voice was not looked at, seconds: words by themselves, too short for a window. More of them may be
/// somebody else's.
const UNHEARD_S_MAX: f64 = 1.0;
/// Share of a window that has to be speech for it to be looked at.
const WINDOW_SPEECH_MIN: f64 = 0.8;

/// What the looks said so far.
#[derive(Debug, Clone)]
pub struct Monologue {
    geometry: Geometry,
    window: usize,
    window_cosine_min: f64,
    cosine_min: f64,
    /// Which known voice it seems to be, once a window was looked at.
    voice: Option<usize>,
    sum: Vec<f64>,
    looks: usize,
    /// Spans of speech, joined where they touch.
    spans: Vec<Span>,
}

/// A span of speech, samples.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    /// A window of a chunk that it is in was looked at.
    heard: bool,
}

/// What a look at a chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Several people: the full way.
    Several,
    /// One voice; the first samples in the recording of the window at which to listen to it, and of another one for doubt.
    Listen(usize, usize),
    /// Nobody, or not long enough at a time to listen.
    Nothing,
}

/// What a window says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voiced {
    /// The one voice.
    Same,
    /// The one voice for all that is known, but not by much.
    Doubtful,
    /// Another one, or none that is known.
    Another,
}

impl Monologue {
    /// At the start of a recording; windows of `window` samples.
    #[must_use]
    pub fn new(geometry: &Geometry, window: usize, window_cosine_min: f64, cosine_min: f64) -> Self {
        Self {
            geometry: *geometry,
            window,
            window_cosine_min,
            cosine_min,
            voice: None,
            sum: Vec::new(),
            looks: 0,
            spans: Vec::new(),
        }
    }

    /// Samples between two chunks.
    #[must_use]
    pub fn step(geometry: &Geometry) -> usize {
        geometry.window - 2 * margin(geometry)
    }

    /// Looks at who speaks in the next chunk: the masks of its frames, its first sample, and whether it is the last.
    /// Chunks come in order.
    pub fn chunk(&mut self, masks: &[u8], start: usize, is_last: bool) -> Look {
        let mut alone = [0usize; 8];
        masks
            .iter()
            .filter(|mask| mask.count_ones() == 1)
            .for_each(|mask| alone[mask.trailing_zeros() as usize] += 1);
        let main = (0..8).max_by_key(|local| (alone[*local], std::cmp::Reverse(*local))).unwrap_or(0);
        let others = masks.iter().filter(|mask| **mask & !(1 << main) != 0).count();
        let others_max =
            (OTHERS_S_MAX * f64::from(self.geometry.rate_hz)) as usize / self.geometry.frame_step;
        if others > others_max {
            return Look::Several;
        }
        let margin = margin(&self.geometry);
        let from = if start == 0 { 0 } else { start + margin };
        let until = if is_last { usize::MAX } else { start + self.geometry.window - margin };
        let middle =
            |frame: usize| start + frame * self.geometry.frame_step + self.geometry.receptive_field / 2;
        let step = self.geometry.frame_step;
        let (mut first, mut best) = (usize::MAX, (0, 0));
        for frame in (0..masks.len()).filter(|frame| (from..until).contains(&middle(*frame))) {
            if masks[frame] == 0 {
                continue;
            }
            let at = middle(frame);
            match self.spans.last_mut() {
                // Frames of two chunks lie on different grids, less than a step apart.
                Some(span) if at <= span.end + step => span.end = at + step,
                _ => self.spans.push(Span { start: at, end: at + step, heard: false }),
            }
            first = first.min(self.spans.len() - 1);
            if let Some(span) = self.spans.last() {
                let begin = span.start.max(start);
                if span.end - begin > best.1 - best.0 {
                    best = (begin, span.end);
                }
            }
        }
        if ((best.1 - best.0) as f64) < WINDOW_SPEECH_MIN * self.window as f64 {
            return Look::Nothing;
        }
        // In one chunk the network tells people apart, so the window speaks for all of it.
        self.spans[first..].iter_mut().for_each(|span| span.heard = true);
        let end = start + self.geometry.window.saturating_sub(self.window);
        let at = |first: usize| first.clamp(start, end.max(start));
        let centre = usize::midpoint(best.0, best.1);
        Look::Listen(at(centre.saturating_sub(self.window / 2)), at(best.0))
    }

    /// Whether the embedding of a window is still the one voice. In doubt another window of the chunk is listened to, of
    /// which no doubt may be left.
    pub fn heard(&mut self, embedding: &[f32], voices: &[&Voice], is_second: bool) -> Voiced {
        let mut unit = embedding.to_vec();
        to_unit_length(&mut unit);
        let Some((nearest, cosine)) = nearest(&unit, voices) else { return Voiced::Another };
        if cosine < self.window_cosine_min || *self.voice.get_or_insert(nearest) != nearest {
            return Voiced::Another;
        }
        if cosine < f64::midpoint(self.window_cosine_min, self.cosine_min) {
            return if is_second { Voiced::Another } else { Voiced::Doubtful };
        }
        self.sum.resize(unit.len(), 0.0);
        self.sum.iter_mut().zip(unit).for_each(|(sum, value)| *sum += f64::from(value));
        self.looks += 1;
        Voiced::Same
    }

    /// What the recording of `samples` is, when everything agreed: the turns of the one voice, and what it sounds like.
    #[must_use]
    pub fn end(&self, samples: usize, voices: &[&Voice]) -> Option<(Vec<Turn>, Vec<f32>)> {
        let unheard: usize =
            self.spans.iter().filter(|span| !span.heard).map(|span| span.end - span.start).sum();
        if self.looks < LOOKS_MIN || unheard as f64 > UNHEARD_S_MAX * f64::from(self.geometry.rate_hz) {
            return None;
        }
        let mut mean: Vec<f32> = self.sum.iter().map(|sum| *sum as f32).collect();
        to_unit_length(&mut mean);
        let (found, cosine) = nearest(&mean, voices)?;
        if Some(found) != self.voice || cosine < self.cosine_min {
            return None;
        }
        let at = |sample: usize| Seconds::of_samples(sample.min(samples) as u64, self.geometry.rate_hz);
        let turns =
            self.spans.iter().map(|span| Turn { start: at(span.start), end: at(span.end), speaker: 0 });
        Some((turns.filter(|turn| turn.end > turn.start).collect(), mean))
    }
}

/// [`MARGIN_S`] in samples; of short chunks at most a quarter, so that chunks always go on.
fn margin(geometry: &Geometry) -> usize {
    ((MARGIN_S * f64::from(geometry.rate_hz)) as usize).min(geometry.window / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;
    use crate::diarize::observations::dot;
    use crate::diarize::voices::tests::{unit, voice};

    const WINDOW: usize = 24_000;

    fn monologue() -> Monologue {
        Monologue::new(&pyannote(), WINDOW, 0.4, 0.6)
    }

    /// Masks of a chunk: runs of (mask, frames).
    fn masks(runs: &[(u8, usize)]) -> Vec<u8> {
        runs.iter().flat_map(|(mask, frames)| std::iter::repeat_n(*mask, *frames)).collect()
    }

    #[test]
    fn several_people_are_seen() {
        assert_eq!(monologue().chunk(&masks(&[(1, 300), (2, 289)]), 0, false), Look::Several);
        assert_eq!(monologue().chunk(&masks(&[(1, 300), (3, 289)]), 0, false), Look::Several);
        assert_eq!(
            monologue().chunk(&masks(&[(1, 300), (3, 14), (1, 275)]), 0, false),
            Look::Listen(64_365, 495)
        );
        assert_eq!(monologue().chunk(&masks(&[(1, 300), (3, 15), (1, 274)]), 0, false), Look::Several);
        assert_eq!(monologue().chunk(&masks(&[(0, 589)]), 0, false), Look::Nothing);
        assert_eq!(
            monologue().chunk(&masks(&[(0, 100), (4, 60), (0, 429)]), 0, false),
            Look::Nothing,
            "a second"
        );
    }

    #[test]
    fn windows_lie_inside_their_chunk() {
        for runs in [&[(1, 100), (0, 489)][..], &[(0, 489), (1, 100)], &[(0, 200), (1, 100), (0, 289)]] {
            let Look::Listen(at, again) = monologue().chunk(&masks(runs), 720_000, true) else {
                panic!("{runs:?}")
            };
            let inside = 720_000..=720_000 + 160_000 - WINDOW;
            assert!(inside.contains(&at) && inside.contains(&again), "{runs:?}: {at} {again}");
        }
    }

    fn looked(angles: &[f32]) -> Option<(Vec<Turn>, Vec<f32>)> {
        let (ada, bob) = (voice("Ada", 0.0), voice("Bob", 90.0));
        let voices = [&ada, &bob];
        let mut found = monologue();
        for (chunk, angle) in angles.iter().enumerate() {
            let start = chunk * Monologue::step(&pyannote());
            let masks = if chunk == 1 { masks(&[(2, 589)]) } else { masks(&[(1, 589)]) };
            let look = found.chunk(&masks, start, chunk + 1 == angles.len());
            assert!(matches!(look, Look::Listen(..)), "{look:?}");
            if found.heard(&unit(*angle), &voices, false) != Voiced::Same {
                return None;
            }
        }
        found.end(160_000 + (angles.len() - 1) * Monologue::step(&pyannote()), &voices)
    }

    #[test]
    fn one_voice_throughout_is_one_turn() {
        let (turns, voice) = looked(&[0.0, 20.0, -20.0, 0.0]).unwrap();
        assert_eq!(turns.len(), 1, "{turns:?}");
        assert!(turns[0].start.get() < 0.05 && turns[0].end.get() > 36.9);
        assert!(dot(&voice, &unit(0.0)) > 0.999);
    }

    /// Half a minute of Ada, then words of a second each, by whomever.
    #[test]
    fn words_too_short_to_look_at_are_nobodys_for_sure() {
        let words = |chunks: usize| {
            let ada = voice("Ada", 0.0);
            let mut found = monologue();
            let step = Monologue::step(&pyannote());
            for chunk in 0..3 + chunks {
                let runs: &[(u8, usize)] =
                    if chunk < 3 { &[(1, 500), (0, 89)] } else { &[(0, 100), (1, 55), (0, 434)] };
                match found.chunk(&masks(runs), chunk * step, false) {
                    Look::Listen(..) => {
                        assert!(chunk < 3 && found.heard(&unit(0.0), &[&ada], false) == Voiced::Same)
                    }
                    look => assert!(chunk >= 3 && look == Look::Nothing),
                }
            }
            found.end((3 + chunks) * step, &[&ada]).is_some()
        };
        assert!(words(0) && words(1), "a second in all may be let pass");
        assert!(!words(2) && !words(3));
    }

    #[test]
    fn doubt_is_settled_by_a_second_window() {
        let ada = voice("Ada", 0.0);
        let mut found = monologue();
        let voiced = |found: &mut Monologue, angle, is_second| found.heard(&unit(angle), &[&ada], is_second);
        // Cosines of 0.4, 0.5 and 0.6 lie at 66.4, 60 and 53.1 degrees.
        assert_eq!(voiced(&mut found, 59.0, false), Voiced::Same);
        assert_eq!(voiced(&mut found, 61.0, false), Voiced::Doubtful);
        assert_eq!(voiced(&mut found, 59.0, true), Voiced::Same);
        assert_eq!(voiced(&mut found, 61.0, true), Voiced::Another);
        assert_eq!(voiced(&mut found, 67.0, false), Voiced::Another);
        assert_eq!(found.looks, 2);
    }

    #[test]
    fn any_look_that_disagrees_ends_it() {
        assert!(looked(&[0.0, 0.0, 85.0, 0.0]).is_none(), "another known voice");
        assert!(looked(&[0.0, 0.0, -70.0, 0.0]).is_none(), "nobody known");
        assert!(looked(&[-55.0, -55.0, -55.0, -55.0]).is_none(), "each near enough, together too far");
        assert!(looked(&[0.0, 0.0]).is_none(), "too few looks");
        assert!(looked(&[0.0, 0.0, 0.0]).is_some());
    }

    #[test]
    fn pauses_end_turns_and_borders_of_chunks_do_not() {
        let ada = voice("Ada", 0.0);
        let mut found = monologue();
        let step = Monologue::step(&pyannote());
        for chunk in 0..3 {
            found.chunk(&masks(&[(1, 200), (0, 100), (1, 289)]), chunk * step, chunk == 2);
            assert_eq!(found.heard(&unit(1.0), &[&ada], false), Voiced::Same);
        }
        let (turns, _) = found.end(2 * step + 160_000, &[&ada]).unwrap();
        assert_eq!(turns.len(), 4, "{turns:?}");
        assert!((turns[0].end.get() - 3.4).abs() < 0.05 && (turns[1].start.get() - 5.09).abs() < 0.05);
    }
}
