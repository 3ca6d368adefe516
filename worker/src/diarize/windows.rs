//! Which windows of the recording are worth an embedding.
//!
//! Three grids, by the length of the recording. A short one gets a dense grid, because few windows have to say much. A
//! longer one gets the fine grid. A long one goes from coarse to fine: every second window of the fine grid first, and the
//! one between two of those only where their voices disagree or one of them was silent: that is where speakers change.
//! Windows in which no chunk hears speech are skipped, which changes no frame in which somebody talks.
//!
//! The plan runs along with the audio: a window is decided as soon as every chunk that covers it is known. What depends on
//! the length is decided when the length is clear; the caller keeps samples from [`WindowPlan::needed_from`] on.

use std::collections::VecDeque;

use super::geometry::Geometry;
use super::observations::dot;
use super::speaker_count::ChunkActivity;

/// Windows start at multiples of this many samples (10 ms), so that their feature frames lie on one grid.
const ALIGNMENT: usize = 160;

/// The grids of a bundle; all lengths in samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grids {
    /// Length of a window.
    pub window: usize,
    /// Distance of two windows of the fine grid.
    pub hop: usize,
    /// Distance of two windows in a short recording.
    pub short_hop: usize,
    /// Longest recording that counts as short.
    pub short_max: usize,
    /// Longest recording that gets the whole fine grid.
    pub fine_max: usize,
    /// Cosine of two neighbours on the coarse grid from which nothing is embedded between them.
    pub agreement: f64,
}

/// Decides windows as activity and embeddings become known.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    grids: Grids,
    /// Samples that have arrived: the recording is at least this long.
    samples: usize,
    /// The first undecided window of the grid.
    next: usize,
    /// Windows with speech between two coarse ones, of which not all answers are known.
    between: VecDeque<usize>,
    /// The same once the answers are known, and whether the neighbours disagree.
    judged: VecDeque<(usize, bool)>,
    /// The coarse window that was answered last.
    last_coarse: Option<(usize, Vec<f32>)>,
}

impl WindowPlan {
    /// A plan at the start of a recording.
    #[must_use]
    pub fn new(grids: Grids) -> Self {
        let (between, judged) = (VecDeque::new(), VecDeque::new());
        Self { grids, samples: 0, next: 0, between, judged, last_coarse: None }
    }

    /// Samples of a window.
    #[must_use]
    pub fn window(&self) -> usize {
        self.grids.window
    }

    fn is_short(&self) -> bool {
        self.samples <= self.grids.short_max
    }

    fn is_long(&self) -> bool {
        self.samples > self.grids.fine_max
    }

    /// Distance of the windows that every stretch of speech has, from what is known of the recording's length.
    #[must_use]
    pub fn hop(&self) -> usize {
        if self.is_short() {
            self.grids.short_hop
        } else if self.is_long() {
            2 * self.grids.hop
        } else {
            self.grids.hop
        }
    }

    /// The first sample that an undecided window may need.
    #[must_use]
    pub fn needed_from(&self) -> usize {
        let between = self.between.front().copied().unwrap_or(usize::MAX);
        let judged = self.judged.front().map_or(usize::MAX, |(start, _)| *start);
        self.next.min(between).min(judged)
    }

    /// Decides what can be decided once `samples` have arrived, and appends the starts of windows to embed.
    pub fn advance(
        &mut self,
        geometry: &Geometry,
        activity: &[ChunkActivity],
        samples: usize,
        wanted: &mut Vec<usize>,
    ) {
        self.samples = samples;
        let unknown_from = geometry.chunk_start(activity.len());
        while !self.is_short() && self.next + self.grids.window <= unknown_from {
            self.decide(geometry, activity, wanted);
        }
        if self.is_long() {
            wanted.extend(self.judged.drain(..).filter(|(_, disagree)| *disagree).map(|(start, _)| start));
        }
    }

    /// Takes the unit-length embedding of a window that was wanted. Answers come in the order of the wishes.
    pub fn answered(&mut self, start: usize, embedding: &[f32]) {
        if self.is_short() || !start.is_multiple_of(2 * self.grids.hop) {
            return;
        }
        while let Some(&between) = self.between.front()
            && between < start
        {
            self.between.pop_front();
            let disagree = match &self.last_coarse {
                Some((left, voice))
                    if between == left + self.grids.hop && start == between + self.grids.hop =>
                {
                    dot(voice, embedding) < self.grids.agreement
                }
                _ => true,
            };
            self.judged.push_back((between, disagree));
        }
        self.last_coarse = Some((start, embedding.to_vec()));
    }

    /// Decides the windows of the grid that are left once the recording has ended after `samples`. A last window ends with
    /// the recording where the grid does not; a recording shorter than a window is one window.
    pub fn finish(
        &mut self,
        geometry: &Geometry,
        activity: &[ChunkActivity],
        samples: usize,
        wanted: &mut Vec<usize>,
    ) {
        self.samples = samples;
        let mut end = self.next;
        while self.next + self.grids.window <= samples {
            end = self.next + self.step();
            self.decide(geometry, activity, wanted);
        }
        let last = samples.saturating_sub(self.grids.window) / ALIGNMENT * ALIGNMENT;
        if (end == 0 || last + self.step() > end) && heard(geometry, activity, last, last + self.grids.window)
        {
            wanted.push(last);
        }
        self.next = usize::MAX;
    }

    /// Decides what is left after [`WindowPlan::finish`] once all its windows are answered.
    pub fn close(&mut self, wanted: &mut Vec<usize>) {
        let is_long = self.is_long();
        wanted.extend(
            self.judged.drain(..).filter(|(_, disagree)| *disagree || !is_long).map(|(start, _)| start),
        );
        wanted.extend(self.between.drain(..));
    }

    /// Distance of two windows that are decided.
    fn step(&self) -> usize {
        if self.is_short() { self.grids.short_hop } else { self.grids.hop }
    }

    fn decide(&mut self, geometry: &Geometry, activity: &[ChunkActivity], wanted: &mut Vec<usize>) {
        let start = self.next;
        self.next += self.step();
        if heard(geometry, activity, start, start + self.grids.window) {
            if self.is_short() || start.is_multiple_of(2 * self.grids.hop) {
                wanted.push(start);
            } else {
                self.between.push_back(start);
            }
        }
    }
}

/// Whether any chunk hears speech in samples `start..end`.
fn heard(geometry: &Geometry, activity: &[ChunkActivity], start: usize, end: usize) -> bool {
    // Chunks that cover the window start after `start - geometry.window` and before its end.
    let first = (start + 1).saturating_sub(geometry.window).div_ceil(geometry.step);
    let last = end.div_ceil(geometry.step).min(activity.len());
    (first..last)
        .any(|chunk| chunk_frames(geometry, activity, chunk, start, end).iter().any(|mask| *mask != 0))
}

/// The chunk whose middle is nearest to a sample (ties: the earlier one), among the first `chunks`.
#[must_use]
pub fn nearest_chunk(geometry: &Geometry, chunks: usize, sample: usize) -> usize {
    let from = sample.saturating_sub(geometry.window / 2);
    let below = from / geometry.step;
    let nearest = if 2 * (from - below * geometry.step) > geometry.step { below + 1 } else { below };
    nearest.min(chunks.saturating_sub(1))
}

/// Frames of the recording whose middles lie in samples `start..end`.
#[must_use]
pub fn frames_between(geometry: &Geometry, start: usize, end: usize) -> std::ops::Range<usize> {
    // Frame i is centred on i * frame_step + receptive_field / 2.
    let frame = |sample: usize| {
        (2 * sample).saturating_sub(geometry.receptive_field).div_ceil(2 * geometry.frame_step)
    };
    frame(start)..frame(end)
}

/// Activity of a chunk in the frames whose middles lie in samples `start..end` of the recording.
#[must_use]
pub fn chunk_frames<'a>(
    geometry: &Geometry,
    activity: &'a [ChunkActivity],
    chunk: usize,
    start: usize,
    end: usize,
) -> &'a [u8] {
    let Some(masks) = activity.get(chunk) else { return &[] };
    let first = geometry.chunk_start(chunk);
    let frames = frames_between(geometry, start.saturating_sub(first), end.saturating_sub(first));
    let (from, to) = (frames.start.min(masks.len()), frames.end.min(masks.len()));
    &masks[from..to.max(from)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::geometry::tests::pyannote;

    const GRIDS: Grids = Grids {
        window: 24_000,
        hop: 12_000,
        short_hop: 4_000,
        short_max: 160_000,
        fine_max: 240_000,
        agreement: 0.4,
    };

    /// All windows of a recording whose embeddings `voice` gives, in order of time.
    fn plan(
        samples: usize,
        activity: &[ChunkActivity],
        voice: impl Fn(usize) -> Vec<f32>,
    ) -> (Vec<usize>, usize) {
        let g = pyannote();
        let (mut plan, mut wanted, mut all) = (WindowPlan::new(GRIDS), Vec::new(), Vec::new());
        let mut answer = |plan: &mut WindowPlan, wanted: &mut Vec<usize>| {
            wanted.drain(..).for_each(|start| {
                plan.answered(start, &voice(start));
                all.push(start);
            });
        };
        for known in 0..=activity.len() {
            let arrived = samples.min(g.chunk_start(known) + g.window);
            plan.advance(&g, &activity[..known], arrived, &mut wanted);
            answer(&mut plan, &mut wanted);
        }
        plan.finish(&g, activity, samples, &mut wanted);
        answer(&mut plan, &mut wanted);
        plan.close(&mut wanted);
        answer(&mut plan, &mut wanted);
        all.sort_unstable();
        (all, plan.hop())
    }

    #[test]
    fn short_recordings_get_the_dense_grid() {
        let (windows, hop) = plan(160_000, &[vec![1; 589]], |_| vec![1.0]);
        assert_eq!((windows, hop), ((0..=136_000).step_by(4_000).collect(), 4_000));
    }

    #[test]
    fn longer_ones_get_the_fine_grid_and_a_last_window() {
        let (windows, hop) = plan(200_000, &vec![vec![1; 589]; 2], |_| vec![1.0]);
        let expected: Vec<usize> = (0..=176_000).step_by(12_000).chain([176_000]).collect();
        assert_eq!((windows, hop), (expected, 12_000));
    }

    #[test]
    fn long_ones_are_fine_only_where_voices_change() {
        let voice = |start: usize| if start < 200_000 { vec![1.0, 0.0] } else { vec![0.0, 1.0] };
        let (windows, hop) = plan(400_000, &vec![vec![1; 589]; 7], voice);
        let mut expected: Vec<usize> = (0..=360_000).step_by(24_000).collect();
        // 192,000 is the last window of the first voice; the recording's last window is not on the grid.
        expected.extend([204_000, 372_000, 376_000]);
        expected.sort_unstable();
        assert_eq!((windows, hop), (expected, 24_000));
    }

    #[test]
    fn silence_is_skipped_only_where_every_chunk_agrees() {
        let mut second = vec![0; 589];
        second[400] = 1;
        // The middle of frame 400 of chunk 1: 40,000 + 108,000 + 495.5 = 148,495.5
        let (windows, _) = plan(200_000, &[vec![0; 589], second], |_| vec![1.0]);
        assert_eq!(windows, [132_000, 144_000]);
    }

    #[test]
    fn shorter_than_a_window() {
        assert_eq!(plan(9_000, &[vec![1; 40]], |_| vec![1.0]).0, [0]);
    }

    #[test]
    fn samples_of_undecided_windows_are_needed() {
        let g = pyannote();
        let (mut plan, mut wanted) = (WindowPlan::new(GRIDS), Vec::new());
        plan.advance(&g, &vec![vec![1; 589]; 2], 200_000, &mut wanted);
        assert_eq!(wanted, [0, 24_000, 48_000]);
        assert_eq!(plan.needed_from(), 12_000, "whether 12,000 is embedded depends on the length");
        wanted.iter().for_each(|start| plan.answered(*start, &[1.0]));
        plan.advance(&g, &vec![vec![1; 589]; 2], 250_000, &mut wanted);
        assert_eq!(plan.needed_from(), 60_000, "the recording is long and its voices agree");
    }

    #[test]
    fn ties_between_chunks_go_to_the_earlier() {
        let g = pyannote();
        // Middles at 80,000 and 120,000.
        assert_eq!([79_999, 100_000, 100_001, 500_000].map(|s| nearest_chunk(&g, 2, s)), [0, 0, 1, 1]);
    }
}
