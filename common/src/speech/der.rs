//! Diarization error rate with its parts, and Jaccard error rate.
//!
//! DER is (missed + false alarm + confusion) / reference speech, overlapped speech scored, under the one-to-one mapping
//! of hypothesis speakers to reference speakers that confuses least (NIST RT-09 evaluation plan). JER is the mean over
//! reference speakers of one minus the Jaccard index with the speaker mapped to them, 1 for those left alone, under the
//! mapping that makes it smallest (Second DIHARD Challenge evaluation plan). Intervals are exact: there is no frame
//! grid. A speaker who overlaps himself counts once.
//!
//! Invariant: the parts are not negative, and those of several recordings add up.

use super::annotation::{Annotation, Span};
use super::assignment;

/// The errors of one recording, or the sum over several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Score {
    /// Reference speech inside the scored region, seconds; two people at once count twice.
    pub reference_s: f64,
    /// Reference speech that no hypothesis speaker covers.
    pub missed_s: f64,
    /// Hypothesis speech without reference speech.
    pub false_alarm_s: f64,
    /// Speech given to another speaker than the mapped one.
    pub confusion_s: f64,
    /// Sum of the Jaccard errors of the scored reference speakers.
    pub jaccard_errors: f64,
    /// How many reference speakers speak inside the scored region.
    pub jaccard_speakers: usize,
    /// Speakers of the reference.
    pub reference_speakers: usize,
    /// Speakers of the hypothesis.
    pub hypothesis_speakers: usize,
}

/// Who is who, and the errors that remain.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The errors.
    pub score: Score,
    /// Pairs (reference label, hypothesis label) of the mapping behind DER, in order of the reference labels; only
    /// those that ever speak at the same time.
    pub mapping: Vec<(String, String)>,
}

impl Score {
    /// Sum of the three kinds of error, seconds.
    #[must_use]
    pub fn errors_s(&self) -> f64 {
        self.missed_s + self.false_alarm_s + self.confusion_s
    }

    /// DER as a ratio; infinite when there are errors but no reference speech, 0 when there is neither.
    #[must_use]
    pub fn der(&self) -> f64 {
        self.of_reference(self.errors_s())
    }

    /// A part of the errors as a ratio of the reference speech, like [`Score::der`].
    #[must_use]
    pub fn of_reference(&self, part_s: f64) -> f64 {
        match (part_s == 0.0, self.reference_s == 0.0) {
            (true, _) => 0.0,
            (false, true) => f64::INFINITY,
            (false, false) => part_s / self.reference_s,
        }
    }

    /// JER as a ratio, at most 1; without a reference speaker it is 1 when the hypothesis has speech and 0 otherwise.
    #[must_use]
    pub fn jer(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a number of speakers")]
        match self.jaccard_speakers {
            0 if self.false_alarm_s > 0.0 => 1.0,
            0 => 0.0,
            speakers => self.jaccard_errors / speakers as f64,
        }
    }
}

impl std::ops::AddAssign<&Score> for Score {
    fn add_assign(&mut self, other: &Score) {
        self.reference_s += other.reference_s;
        self.missed_s += other.missed_s;
        self.false_alarm_s += other.false_alarm_s;
        self.confusion_s += other.confusion_s;
        self.jaccard_errors += other.jaccard_errors;
        self.jaccard_speakers += other.jaccard_speakers;
        self.reference_speakers += other.reference_speakers;
        self.hypothesis_speakers += other.hypothesis_speakers;
    }
}

/// Scores a hypothesis against a reference.
///
/// `region` is what is scored; without it, everything from the first to the last turn of both. `collar_s` is left out
/// on each side of every start and end of a reference turn. Time grows with the number of turns `n` as
/// `n (log n + a)`, where `a` speakers talk at once, and with the cube of the number of speakers.
///
/// # Panics
/// When `collar_s` is negative or not finite.
#[must_use]
pub fn score(
    reference: &Annotation,
    hypothesis: &Annotation,
    region: Option<&[Span]>,
    collar_s: f64,
) -> Scored {
    assert!(collar_s.is_finite() && collar_s >= 0.0, "a collar is a length");
    let mut sweep = Sweep::new(reference.labels().len(), hypothesis.labels().len());
    let (mut since, edges) = (f64::NEG_INFINITY, edges(reference, hypothesis, region, collar_s));
    for (at, edge, begins) in edges {
        if at > since {
            sweep.pass(at - since);
            since = at;
        }
        sweep.cross(edge, begins);
    }
    sweep.scored(reference.labels(), hypothesis.labels())
}

/// What begins or ends at an instant.
#[derive(Debug, Clone, Copy)]
enum Edge {
    Reference(usize),
    Hypothesis(usize),
    Region,
    Collar,
}

/// Every edge, by time. The order within one instant does not matter: nothing is measured there.
fn edges(
    reference: &Annotation,
    hypothesis: &Annotation,
    region: Option<&[Span]>,
    collar_s: f64,
) -> Vec<(f64, Edge, bool)> {
    let mut spans: Vec<(f64, f64, Edge)> = Vec::new();
    for turn in reference.turns() {
        let (start, end) = (turn.start.get(), turn.end.get());
        spans.push((start, end, Edge::Reference(turn.speaker)));
        if collar_s > 0.0 {
            spans.extend([start, end].map(|at| (at - collar_s, at + collar_s, Edge::Collar)));
        }
    }
    let turn = |t: &super::diarization::Turn| (t.start.get(), t.end.get(), Edge::Hypothesis(t.speaker));
    spans.extend(hypothesis.turns().iter().map(turn));
    match region {
        Some(region) => spans.extend(region.iter().map(|s| (s.start.get(), s.end.get(), Edge::Region))),
        None => {
            let turns = || reference.turns().iter().chain(hypothesis.turns());
            let start = turns().map(|t| t.start.get()).fold(f64::INFINITY, f64::min);
            let end = turns().map(|t| t.end.get()).fold(f64::NEG_INFINITY, f64::max);
            if start < end {
                spans.push((start, end, Edge::Region));
            }
        }
    }
    let mut edges: Vec<_> =
        spans.into_iter().flat_map(|(start, end, edge)| [(start, edge, true), (end, edge, false)]).collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0));
    edges
}

/// One side's speakers while the sweep passes.
#[derive(Default)]
struct Side {
    /// Turns open for each speaker.
    open: Vec<usize>,
    /// Who speaks, in no order.
    speaking: Vec<usize>,
    /// Scored time at which each began to speak.
    since_s: Vec<f64>,
    /// Scored speech of each.
    speech_s: Vec<f64>,
}

impl Side {
    fn new(speakers: usize) -> Self {
        Self {
            open: vec![0; speakers],
            speaking: Vec::new(),
            since_s: vec![0.0; speakers],
            speech_s: vec![0.0; speakers],
        }
    }

    /// Whether the speaker falls silent here.
    fn cross(&mut self, speaker: usize, begins: bool, now_s: f64) -> bool {
        if begins {
            self.open[speaker] += 1;
            if self.open[speaker] == 1 {
                self.speaking.push(speaker);
                self.since_s[speaker] = now_s;
            }
            return false;
        }
        self.open[speaker] -= 1;
        if self.open[speaker] > 0 {
            return false;
        }
        self.speaking.retain(|&s| s != speaker);
        self.speech_s[speaker] += now_s - self.since_s[speaker];
        true
    }
}

/// Everything that is measured in one pass over the edges.
struct Sweep {
    reference: Side,
    hypothesis: Side,
    regions: usize,
    collars: usize,
    /// Scored time passed: inside the region, outside the collars.
    now_s: f64,
    missed_s: f64,
    false_alarm_s: f64,
    /// Time with speech on both sides, once for each pair that can be made.
    paired_s: f64,
    /// `[reference, hypothesis]`: scored time in which both speak.
    together_s: Vec<f64>,
}

impl Sweep {
    fn new(reference: usize, hypothesis: usize) -> Self {
        Self {
            reference: Side::new(reference),
            hypothesis: Side::new(hypothesis),
            regions: 0,
            collars: 0,
            now_s: 0.0,
            missed_s: 0.0,
            false_alarm_s: 0.0,
            paired_s: 0.0,
            together_s: vec![0.0; reference * hypothesis],
        }
    }

    fn pass(&mut self, length_s: f64) {
        if self.regions == 0 || self.collars > 0 {
            return;
        }
        self.now_s += length_s;
        let (reference, hypothesis) = (self.reference.speaking.len(), self.hypothesis.speaking.len());
        #[allow(clippy::cast_precision_loss, reason = "a number of speakers")]
        let times = |n: usize| length_s * n as f64;
        self.missed_s += times(reference.saturating_sub(hypothesis));
        self.false_alarm_s += times(hypothesis.saturating_sub(reference));
        self.paired_s += times(reference.min(hypothesis));
    }

    /// Two speakers have been together since the later of them began, until the first of them stops.
    fn cross(&mut self, edge: Edge, begins: bool) {
        let columns = self.hypothesis.open.len();
        match edge {
            Edge::Region if begins => self.regions += 1,
            Edge::Region => self.regions -= 1,
            Edge::Collar if begins => self.collars += 1,
            Edge::Collar => self.collars -= 1,
            Edge::Reference(r) => {
                if self.reference.cross(r, begins, self.now_s) {
                    for &h in &self.hypothesis.speaking {
                        let since_s = self.reference.since_s[r].max(self.hypothesis.since_s[h]);
                        self.together_s[r * columns + h] += self.now_s - since_s;
                    }
                }
            }
            Edge::Hypothesis(h) => {
                if self.hypothesis.cross(h, begins, self.now_s) {
                    for &r in &self.reference.speaking {
                        let since_s = self.reference.since_s[r].max(self.hypothesis.since_s[h]);
                        self.together_s[r * columns + h] += self.now_s - since_s;
                    }
                }
            }
        }
    }

    fn scored(self, reference: &[String], hypothesis: &[String]) -> Scored {
        let (rows, columns) = (reference.len(), hypothesis.len());
        let pairs = |weights: &[f64]| -> Vec<(usize, usize)> {
            let chosen = assignment::maximise(weights, rows, columns).into_iter().enumerate();
            let pairs = chosen.filter_map(|(r, h)| h.map(|h| (r, h)));
            pairs.filter(|&(r, h)| weights[r * columns + h] > 0.0).collect()
        };
        let mut mapping = pairs(&self.together_s);
        let correct_s: f64 = mapping.iter().map(|&(r, h)| self.together_s[r * columns + h]).sum();
        mapping.sort_by_key(|&(r, _)| &reference[r]);

        let mut jaccard = vec![0.0; rows * columns];
        for (at, index) in jaccard.iter_mut().enumerate() {
            let together = self.together_s[at];
            let either =
                self.reference.speech_s[at / columns] + self.hypothesis.speech_s[at % columns] - together;
            *index = if together > 0.0 { together / either } else { 0.0 };
        }
        let jaccard_speakers = self.reference.speech_s.iter().filter(|s| **s > 0.0).count();
        let agreement: f64 = pairs(&jaccard).iter().map(|&(r, h)| jaccard[r * columns + h]).sum();
        #[allow(clippy::cast_precision_loss, reason = "a number of speakers")]
        let jaccard_errors = (jaccard_speakers as f64 - agreement).max(0.0);
        let score = Score {
            // No times at all have the sum -0.
            reference_s: self.reference.speech_s.iter().sum::<f64>() + 0.0,
            missed_s: self.missed_s,
            false_alarm_s: self.false_alarm_s,
            // Two sums of the same times in another order: equal times may differ in the last digit.
            confusion_s: if self.paired_s - correct_s > 1e-9 { self.paired_s - correct_s } else { 0.0 },
            jaccard_errors,
            jaccard_speakers,
            reference_speakers: rows,
            hypothesis_speakers: columns,
        };
        let label = |(r, h): &(usize, usize)| (reference[*r].clone(), hypothesis[*h].clone());
        Scored { score, mapping: mapping.iter().map(label).collect() }
    }
}

#[cfg(test)]
mod tests;
