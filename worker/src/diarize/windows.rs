//! Which windows of the recording are worth an embedding.
//!
//! One grid for the whole recording: dense for a short one, where few windows have to say much, else sparser. A window
//! is decided as soon as every chunk that covers it is known, so the plan runs along with the audio; windows in which
//! no chunk hears speech are skipped, which changes no frame in which somebody talks.

use super::geometry::Geometry;
use super::speaker_count::ChunkActivity;

/// Windows start at multiples of this many samples (10 ms), so that their feature frames lie on one grid.
const ALIGNMENT: usize = 160;

/// The grids of a bundle; all lengths in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grids {
    /// Length of a window.
    pub window: usize,
    /// Distance of two windows.
    pub hop: usize,
    /// Distance of two windows in a short recording.
    pub short_hop: usize,
    /// Longest recording that counts as short.
    pub short_max: usize,
}

/// Walks the grid of windows as activity becomes known. Until it is clear that a recording is not short, nothing is
/// decided, and the caller has to keep its samples.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    grids: Grids,
    is_long: bool,
    next: usize,
}

impl WindowPlan {
    /// A plan at the start of a recording.
    #[must_use]
    pub fn new(grids: Grids) -> Self {
        Self { grids, is_long: false, next: 0 }
    }

    /// Samples of a window.
    #[must_use]
    pub fn window(&self) -> usize {
        self.grids.window
    }

    /// The distance of two windows that the recording gets, from what is known of its length.
    #[must_use]
    pub fn hop(&self) -> usize {
        if self.is_long { self.grids.hop } else { self.grids.short_hop }
    }

    /// First sample of the first undecided window: samples before it are not needed any more.
    #[must_use]
    pub fn next_start(&self) -> usize {
        self.next
    }

    /// Decides every window that only known chunks cover, in order, and appends the starts of those worth embedding.
    /// `samples` have arrived so far.
    pub fn advance(
        &mut self,
        geometry: &Geometry,
        activity: &[ChunkActivity],
        samples: usize,
        wanted: &mut Vec<usize>,
    ) {
        self.is_long |= samples > self.grids.short_max;
        let unknown_from = geometry.chunk_start(activity.len());
        while self.is_long && self.next + self.grids.window <= unknown_from {
            self.decide(geometry, activity, wanted);
        }
    }

    /// Decides the windows that are left once the recording has ended after `samples`. A last window ends with the
    /// recording where the grid does not; a recording shorter than a window is one window.
    pub fn finish(
        &mut self,
        geometry: &Geometry,
        activity: &[ChunkActivity],
        samples: usize,
        wanted: &mut Vec<usize>,
    ) {
        self.is_long |= samples > self.grids.short_max;
        while self.next + self.grids.window <= samples {
            self.decide(geometry, activity, wanted);
        }
        let last = samples.saturating_sub(self.grids.window) / ALIGNMENT * ALIGNMENT;
        if self.next == 0 || last + self.hop() > self.next {
            self.want_if_heard(geometry, activity, last, wanted);
        }
        self.next = samples;
    }

    fn decide(&mut self, geometry: &Geometry, activity: &[ChunkActivity], wanted: &mut Vec<usize>) {
        self.want_if_heard(geometry, activity, self.next, wanted);
        self.next += self.hop();
    }

    fn want_if_heard(
        &self,
        geometry: &Geometry,
        activity: &[ChunkActivity],
        start: usize,
        wanted: &mut Vec<usize>,
    ) {
        let end = start + self.grids.window;
        // Chunks that cover the window start after `start - geometry.window` and before its end.
        let first = (start + 1).saturating_sub(geometry.window).div_ceil(geometry.step);
        let last = end.div_ceil(geometry.step).min(activity.len());
        let heard = (first..last)
            .any(|chunk| chunk_frames(geometry, activity, chunk, start, end).iter().any(|mask| *mask != 0));
        if heard {
            wanted.push(start);
        }
    }
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

    const GRIDS: Grids = Grids { window: 24_000, hop: 12_000, short_hop: 4_000, short_max: 160_000 };

    #[test]
    fn short_recordings_get_the_dense_grid() {
        let g = pyannote();
        let mut plan = WindowPlan::new(GRIDS);
        let mut wanted = Vec::new();
        plan.advance(&g, &[vec![1; 589]], 160_000, &mut wanted);
        assert!(wanted.is_empty(), "undecided until the length is known");
        plan.finish(&g, &[vec![1; 589]], 160_000, &mut wanted);
        assert_eq!(wanted, (0..=136_000).step_by(4_000).collect::<Vec<_>>());
    }

    #[test]
    fn long_recordings_are_decided_as_chunks_become_known() {
        let g = pyannote();
        let (mut plan, mut wanted) = (WindowPlan::new(GRIDS), Vec::new());
        plan.advance(&g, &[vec![1; 589]], 200_000, &mut wanted);
        assert_eq!(wanted, [0, 12_000], "chunk 1 starts at 40,000 and may hear more");
        plan.finish(&g, &vec![vec![1; 589]; 2], 200_000, &mut wanted);
        let expected: Vec<usize> = (0..=176_000).step_by(12_000).chain([176_000]).collect();
        assert_eq!(wanted, expected, "the last one ends with the recording");
    }

    #[test]
    fn silence_is_skipped_only_where_every_chunk_agrees() {
        let g = pyannote();
        let mut second = vec![0; 589];
        second[400] = 1;
        let (mut plan, mut wanted) = (WindowPlan::new(GRIDS), Vec::new());
        plan.finish(&g, &[vec![0; 589], second], 200_000, &mut wanted);
        // The middle of frame 400 of chunk 1: 40,000 + 108,000 + 495.5 = 148,495.5
        assert_eq!(wanted, [132_000, 144_000]);
    }

    #[test]
    fn shorter_than_a_window() {
        let (mut plan, mut wanted) = (WindowPlan::new(GRIDS), Vec::new());
        plan.finish(&pyannote(), &[vec![1; 40]], 9_000, &mut wanted);
        assert_eq!(wanted, [0]);
    }

    #[test]
    fn ties_between_chunks_go_to_the_earlier() {
        let g = pyannote();
        // Middles at 80,000 and 120,000.
        assert_eq!([79_999, 100_000, 100_001, 500_000].map(|s| nearest_chunk(&g, 2, s)), [0, 0, 1, 1]);
    }
}
