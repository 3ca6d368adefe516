//! Where decoded frames belong in time.
//!
//! Positions count frames since the start of the current chained stream, in front of any trimming. The visible part is
//! a window of them: encoders start early (priming, pre-skip) and end late (padding), and say so in different places.

use std::collections::VecDeque;

use symphonia::core::packet::Packet;
use symphonia::core::units::TimeBase;

use super::decode::Planes;

/// Timestamps may lag or lead by this much before they are believed over the count of samples, seconds. Matroska
/// rounds to milliseconds and Vorbis starts with up to 50 ms that do not decode.
const JITTER_S: f64 = 0.1;
/// Longest gap between packets, and latest start, that is believed, seconds; more is a broken clock.
const GAP_S_MAX: f64 = 3600.0;
/// Timestamps that go back further than this start a new clock, seconds.
const BACK_S_MAX: f64 = 10.0;
/// Most that is held back as possible padding, seconds: an Ogg page of 255 packets of 20 ms.
const HELD_S_MAX: f64 = 5.1;
/// Longest start below zero, seconds.
const EARLY_S_MAX: f64 = 1.0;
/// Buffers kept for reuse.
const SPARE_MAX: usize = 4;

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Decoded frames.
    Audio(Planes),
    /// Silence.
    Silence {
        /// How long, frames.
        frames: u64,
        /// At this rate, hertz.
        rate_hz: u32,
    },
    /// The end.
    End,
}

/// What the container says about the visible part of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Window {
    /// Silence in front, seconds.
    pub late_s: f64,
    /// Not visible at the start, seconds.
    pub skip_s: f64,
    /// Not visible from here, seconds.
    pub until_s: Option<f64>,
    /// Frames from here are padding, and how many there are.
    pub padding: Option<(u64, u64)>,
}

/// How a container's timestamps come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamps {
    /// The reader counts packets: nothing is to be learnt from them.
    Counted,
    /// Written on pages: within one, the reader counts by what packets claim.
    PerPage,
    /// Written on every packet.
    PerPacket,
}

/// Places frames and says what comes out.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    queue: VecDeque<Step>,
    spare: Vec<Planes>,
    window: Window,
    rate_hz: u32,
    /// Frames decoded or replaced in this chained stream.
    position: u64,
    /// Ticks of its first packet.
    origin: Option<i64>,
    /// Where the reader expects its next packet, ticks.
    next_tick: i64,
    held: Vec<Planes>,
    held_frames: u64,
    /// Came out at earlier sample rates, seconds.
    earlier_s: f64,
    /// Came out at this rate.
    out_frames: u64,
}

impl Timeline {
    /// At the rate that the container claims; 0 when it does not.
    pub(super) fn new(rate_hz: u32) -> Self {
        Self { rate_hz, ..Self::default() }
    }

    /// The current sample rate, hertz.
    pub(super) fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// Length of what came out so far, seconds.
    pub(super) fn now_s(&self) -> f64 {
        self.earlier_s + seconds(self.out_frames, self.rate_hz)
    }

    /// The next step that is ready.
    pub(super) fn pop(&mut self) -> Option<Step> {
        self.queue.pop_front()
    }

    /// The first sound that is ready.
    pub(super) fn first_audio(&self) -> Option<&Planes> {
        self.queue.iter().find_map(|step| match step {
            Step::Audio(planes) => Some(planes),
            _ => None,
        })
    }

    /// An empty or used buffer.
    pub(super) fn buffer(&mut self) -> Planes {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back for reuse.
    pub(super) fn recycle(&mut self, planes: Planes) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(planes);
        }
    }

    /// Starts a chained stream; what was held back of the last one was padding.
    pub(super) fn start(&mut self, window: Window) {
        self.release(true);
        self.window = window;
        (self.position, self.origin, self.next_tick) = (0, None, 0);
        if window.late_s > 0.0 && window.late_s <= GAP_S_MAX {
            self.put_silence(frames(window.late_s, self.rate_hz));
        }
    }

    /// Ends the stream: what is held back was padding.
    pub(super) fn finish(&mut self) {
        self.release(true);
    }

    /// Follows a change of the sample rate.
    pub(super) fn set_rate(&mut self, rate_hz: u32) {
        if rate_hz == self.rate_hz {
            return;
        }
        self.release(false);
        if self.rate_hz > 0 {
            self.earlier_s += seconds(self.out_frames, self.rate_hz);
            let scaled = u128::from(self.position) * u128::from(rate_hz) / u128::from(self.rate_hz);
            self.position = u64::try_from(scaled).unwrap_or(u64::MAX);
        }
        self.out_frames = 0;
        self.rate_hz = rate_hz;
    }

    /// Inserts silence where the timestamps say that packets are missing; says how long, seconds.
    pub(super) fn catch_up(&mut self, packet: &Packet, base: TimeBase, stamps: Stamps, trims: bool) -> f64 {
        let start = packet.pts.get();
        let tick_s = f64::from(base.numer.get()) / f64::from(base.denom.get());
        if self.origin.is_none() {
            let trimmed = if trims { packet.trim_start.get() } else { 0 };
            self.origin = Some(start.saturating_add_unsigned(trimmed));
            // Matroska counts the encoder's delay below zero.
            if start < 0 && self.window.skip_s == 0.0 && !trims {
                self.window.skip_s = (-(start as f64) * tick_s).min(EARLY_S_MAX);
            }
        }
        let follows = start == self.next_tick;
        let ticks_long = i64::try_from(packet.block_dur().get()).unwrap_or(i64::MAX);
        self.next_tick = start.saturating_add(ticks_long);
        let is_counted = stamps == Stamps::Counted || stamps == Stamps::PerPage && follows;
        if is_counted || self.rate_hz == 0 {
            return 0.0;
        }
        let ticks = i128::from(start) - i128::from(self.origin.unwrap_or(start));
        let scale = i128::from(base.numer.get()) * i128::from(self.rate_hz);
        let denominator = i128::from(base.denom.get());
        let ahead = ticks * scale / denominator - i128::from(self.position);
        let ahead_s = ahead as f64 / f64::from(self.rate_hz);
        if !(-BACK_S_MAX..=GAP_S_MAX).contains(&ahead_s) {
            let here = i128::from(self.position) * denominator / scale;
            self.origin = Some(start.saturating_sub(i64::try_from(here).unwrap_or(0)));
        } else if ahead_s > JITTER_S {
            let before_s = self.now_s();
            self.pass_silence(u64::try_from(ahead).unwrap_or(0));
            return self.now_s() - before_s;
        }
        0.0
    }

    /// Places decoded frames, of which the container calls the last `trim_end` padding.
    pub(super) fn put_audio(&mut self, mut planes: Planes, trim_end: u64) {
        let count = planes.frames() as u64;
        let start = self.position;
        let (from, to) = self.visible(count);
        self.position += count;
        // What is called padding is held back: it is padding if nothing follows, else a wrong claim.
        let certain = match self.window.padding {
            Some((padding_from, _)) => padding_from.saturating_sub(start),
            None => count.saturating_sub(trim_end),
        };
        let certain = certain.min(to).max(from);
        if certain > from {
            self.release(false);
        }
        if certain < to {
            let mut rest = planes.clone();
            rest.crop(certain as usize, to as usize);
            self.held_frames += rest.frames() as u64;
            self.held.push(rest);
        }
        planes.crop(from as usize, certain as usize);
        self.push(planes);
        let most = self.window.padding.map_or(frames(HELD_S_MAX, self.rate_hz), |(_, most)| most);
        if self.held_frames > most {
            self.release(false);
            self.window.padding = None;
        }
    }

    /// Silence that takes the place of packets, so that it moves the position.
    pub(super) fn pass_silence(&mut self, count: u64) {
        self.release(false);
        let (from, to) = self.visible(count);
        self.position += count;
        self.put_silence(to - from);
    }

    /// The visible part of the next `count` frames, as a range in them.
    fn visible(&self, count: u64) -> (u64, u64) {
        let skip = frames(self.window.skip_s, self.rate_hz);
        let from = skip.saturating_sub(self.position).min(count);
        let until = self.window.until_s.map_or(u64::MAX, |s| frames(s, self.rate_hz));
        let to = until.saturating_sub(self.position).min(count);
        (from.min(to), to)
    }

    fn push(&mut self, planes: Planes) {
        if planes.frames() > 0 {
            self.out_frames += planes.frames() as u64;
            self.queue.push_back(Step::Audio(planes));
        } else {
            self.recycle(planes);
        }
    }

    fn put_silence(&mut self, frames: u64) {
        if frames == 0 || self.rate_hz == 0 {
            return;
        }
        self.out_frames += frames;
        let now_hz = self.rate_hz;
        match self.queue.back_mut() {
            Some(Step::Silence { frames: already, rate_hz }) if *rate_hz == now_hz => *already += frames,
            _ => self.queue.push_back(Step::Silence { frames, rate_hz: now_hz }),
        }
    }

    /// Emits what was held back, or drops it as the padding that it is.
    fn release(&mut self, is_padding: bool) {
        self.held_frames = 0;
        for planes in std::mem::take(&mut self.held) {
            if !is_padding {
                self.push(planes);
            }
        }
    }
}

/// Frames as seconds; 0 at a rate that is not known.
#[allow(clippy::cast_precision_loss, reason = "frames of a day or two are far below 2^53")]
pub(super) fn seconds(frames: u64, rate_hz: u32) -> f64 {
    if rate_hz == 0 { 0.0 } else { frames as f64 / f64::from(rate_hz) }
}

/// Seconds as frames; negative is 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and negative is 0")]
pub(super) fn frames(seconds: f64, rate_hz: u32) -> u64 {
    (seconds * f64::from(rate_hz)).round() as u64
}

#[cfg(test)]
mod tests {
    use symphonia::core::units::{Duration, Timestamp};

    use super::*;

    const MILLIS: (u32, u32) = (1, 1000);

    fn audio(from: usize, count: usize) -> Planes {
        let plane = (from..from + count).map(|n| n as f32).collect();
        Planes { rate_hz: 1000, planes: vec![plane] }
    }

    fn packet(pts: i64, dur: u64) -> Packet {
        Packet::new(0, Timestamp::new(pts), Duration::new(dur), Vec::new())
    }

    /// What came out, with silence as -1.
    fn drain(timeline: &mut Timeline) -> Vec<f32> {
        let mut out = Vec::new();
        while let Some(step) = timeline.pop() {
            match step {
                Step::Audio(planes) => out.extend(&planes.planes[0]),
                Step::Silence { frames, .. } => out.extend(std::iter::repeat_n(-1.0, frames as usize)),
                Step::End => {}
            }
        }
        out
    }

    fn ramp(from: usize, to: usize) -> Vec<f32> {
        (from..to).map(|n| n as f32).collect()
    }

    fn catch_up(timeline: &mut Timeline, pts: i64, dur: u64, stamps: Stamps) -> f64 {
        let base = TimeBase::try_new(MILLIS.0, MILLIS.1).unwrap();
        timeline.catch_up(&packet(pts, dur), base, stamps, false)
    }

    #[test]
    fn the_window_cuts_at_single_frames() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window { skip_s: 0.150, until_s: Some(0.333), ..Window::default() });
        for from in (0..500).step_by(100) {
            timeline.put_audio(audio(from, 100), 0);
        }
        assert_eq!(drain(&mut timeline), ramp(150, 333));
        assert_eq!(timeline.now_s(), 0.183);
    }

    #[test]
    fn padding_is_dropped_at_the_end_and_kept_when_more_follows() {
        let window = Window { padding: Some((250, 60)), ..Window::default() };
        let mut timeline = Timeline::new(1000);
        timeline.start(window);
        for from in [0, 100, 200] {
            timeline.put_audio(audio(from, 100).clone(), 0);
        }
        timeline.finish();
        assert_eq!(drain(&mut timeline), ramp(0, 250));
        let mut timeline = Timeline::new(1000);
        timeline.start(window);
        for from in [0, 100, 200, 300, 400] {
            timeline.put_audio(audio(from, 100), 0);
        }
        timeline.finish();
        assert_eq!(drain(&mut timeline), ramp(0, 500));
    }

    #[test]
    fn a_trim_in_the_middle_of_a_stream_is_a_wrong_claim() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window::default());
        timeline.put_audio(audio(0, 100), 30);
        timeline.put_audio(audio(100, 100), 100);
        timeline.put_audio(audio(200, 100), 0);
        timeline.put_audio(audio(300, 100), 40);
        timeline.finish();
        assert_eq!(drain(&mut timeline), ramp(0, 360));
    }

    #[test]
    fn gaps_become_silence_and_jitter_does_not() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window::default());
        assert_eq!(catch_up(&mut timeline, 5000, 100, Stamps::PerPacket), 0.0);
        timeline.put_audio(audio(0, 100), 0);
        assert_eq!(catch_up(&mut timeline, 5190, 100, Stamps::PerPacket), 0.0);
        timeline.put_audio(audio(100, 100), 0);
        assert_eq!(catch_up(&mut timeline, 5500, 100, Stamps::PerPacket), 0.3);
        timeline.put_audio(audio(500, 100), 0);
        let expected = [ramp(0, 200), vec![-1.0; 300], ramp(500, 600)].concat();
        assert_eq!(drain(&mut timeline), expected);
    }

    #[test]
    fn a_broken_clock_is_not_believed() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window::default());
        for (pts, gap_s) in [(0, 0.0), (i64::MAX, 0.0), (100, 0.0), (-50_000, 0.0), (-49_000, 0.9)] {
            let found = catch_up(&mut timeline, pts, 100, Stamps::PerPacket);
            assert!((found - gap_s).abs() < 1e-9, "at {pts}: {found}");
            timeline.put_audio(audio(0, 100), 0);
        }
        assert_eq!(timeline.now_s(), 1.4);
    }

    #[test]
    fn pages_are_believed_where_they_start() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window::default());
        assert_eq!(catch_up(&mut timeline, 0, 900, Stamps::PerPage), 0.0);
        timeline.put_audio(audio(0, 100), 0);
        // The first packet claimed 900 frames; the second follows that claim, and the page behind does not.
        assert_eq!(catch_up(&mut timeline, 900, 100, Stamps::PerPage), 0.0);
        timeline.put_audio(audio(100, 100), 0);
        assert_eq!(catch_up(&mut timeline, 400, 100, Stamps::PerPage), 0.2);
    }

    #[test]
    fn a_start_below_zero_is_not_visible_and_a_late_one_is_silence() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window { late_s: 0.01, ..Window::default() });
        catch_up(&mut timeline, -7, 100, Stamps::PerPacket);
        timeline.put_audio(audio(0, 100), 0);
        assert_eq!(drain(&mut timeline), [vec![-1.0; 10], ramp(7, 100)].concat());
    }

    #[test]
    fn a_change_of_rate_keeps_the_time() {
        let mut timeline = Timeline::new(1000);
        timeline.start(Window { skip_s: 0.05, ..Window::default() });
        timeline.put_audio(audio(0, 100), 0);
        timeline.set_rate(2000);
        timeline.put_audio(Planes { rate_hz: 2000, ..audio(0, 100) }, 0);
        assert_eq!(timeline.now_s(), 0.1);
        assert_eq!(timeline.position, 300);
    }
}
