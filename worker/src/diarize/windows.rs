//! Which windows of the recording are worth an embedding.
//!
//! One grid for the whole recording. A window is decided as soon as every chunk that covers it is known, so the plan
//! runs along with the audio; windows without enough speech are skipped, which changes nothing that is output.

use super::geometry::Geometry;
use super::speaker_count::ChunkActivity;

/// Walks the grid of windows as activity becomes known.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    window: usize,
    hop: usize,
    next: usize,
}

impl WindowPlan {
    /// A plan for windows of `window` samples every `hop` samples.
    #[must_use]
    pub fn new(window: usize, hop: usize) -> Self {
        Self { window, hop, next: 0 }
    }

    /// Samples of a window.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// First sample of the first undecided window: samples before it are not needed any more.
    #[must_use]
    pub fn next_start(&self) -> usize {
        self.next
    }

    /// Decides every window that only known chunks cover, in order, and appends the starts of those worth embedding.
    pub fn advance(&mut self, geometry: &Geometry, activity: &[ChunkActivity], wanted: &mut Vec<usize>) {
        let unknown_from = geometry.chunk_start(activity.len());
        while self.next + self.window <= unknown_from {
            self.decide(geometry, activity, wanted);
        }
    }

    /// Decides the windows that are left once the recording has ended at `samples`. One last window ends with the
    /// recording; a recording shorter than a window is one window.
    pub fn finish(
        &mut self,
        geometry: &Geometry,
        activity: &[ChunkActivity],
        samples: usize,
        wanted: &mut Vec<usize>,
    ) {
        while self.next + self.window <= samples {
            self.decide(geometry, activity, wanted);
        }
    }

    fn decide(&mut self, geometry: &Geometry, activity: &[ChunkActivity], wanted: &mut Vec<usize>) {
        let start = self.next;
        self.next += self.hop;
        let chunk = nearest_chunk(geometry, activity.len(), start + self.window / 2);
        let frames = chunk_frames(geometry, activity, chunk, start, start + self.window);
        if frames.iter().any(|mask| *mask != 0) {
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
    let frame =
        |sample: usize| (2 * sample).saturating_sub(geometry.receptive_field).div_ceil(2 * geometry.frame_step);
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
