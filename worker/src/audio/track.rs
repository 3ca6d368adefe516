//! One audio track in time: what decodes is placed where it belongs, what does not becomes silence of its length.
//!
//! Positions count frames since the start of the current chained stream, in front of any trimming. The visible part is
//! a window of them: encoders start early (priming, pre-skip) and end late (padding), and say so in different places.

use std::collections::VecDeque;

use symphonia::core::packet::Packet;

use super::decode::{Decoder, Planes};
use super::demux::{Demux, Ending, Event};
use super::error::AudioError;
use super::limits::AudioLimits;
use super::sniff::Format;
use super::source::Source;
use super::summary::{AudioWarning, Spans};

/// Timestamps may lag or lead by this much before they are believed over the count of samples, seconds. Matroska
/// rounds to milliseconds and Vorbis starts with up to 50 ms that do not decode.
const JITTER_S: f64 = 0.1;
/// Longest gap between packets that is believed, seconds; more is a broken clock.
const GAP_S_MAX: f64 = 3600.0;
/// Timestamps that go back further than this start a new clock, seconds.
const BACK_S_MAX: f64 = 10.0;
/// Shortest gap worth a warning in containers where encoders may leave out silence, seconds.
const GAP_WARN_S: f64 = 1.0;
/// Packets in a row that may bring nothing before the file is given up.
const IDLE_PACKETS_MAX: u32 = 200_000;
/// A file that ends this much before what it declares was cut short, seconds.
const SHORT_S: f64 = 0.5;
/// Most that is held back as possible padding, seconds: an Ogg page of 255 packets of 20 ms.
const HELD_S_MAX: f64 = 5.1;
/// Damage at the very start of bare MPEG audio is a cut, not damage: its first frames refer to ones before, seconds.
const LEAD_IN_S: f64 = 0.1;

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

/// The visible window of a chained stream, and its clock.
#[derive(Debug, Default)]
struct Link {
    /// Ticks of the first packet.
    origin: Option<i64>,
    /// Frames decoded or replaced so far.
    position: u64,
    /// Not visible at the start, seconds.
    skip_s: f64,
    /// Not visible from here, seconds.
    until_s: Option<f64>,
    /// Frames from here are padding, and how many there are.
    padding: Option<(u64, u64)>,
    /// Where the container expects the next packet, ticks.
    next_tick: i64,
}

/// Reads one audio track.
pub(super) struct TrackReader {
    demux: Demux,
    decoder: Decoder,
    limits: AudioLimits,
    queue: VecDeque<Step>,
    spare: Vec<Planes>,
    link: Link,
    rate_hz: u32,
    held: Vec<Planes>,
    held_frames: u64,
    last_frames: u64,
    idle: u32,
    ended: bool,
    /// Seconds and frames that came out: of earlier rates, and at this one.
    earlier_s: f64,
    out_frames: u64,
    damaged: Spans,
    missing: Spans,
    lost_s: f64,
    ending: Option<AudioWarning>,
}

impl TrackReader {
    /// Opens the track and decodes up to its first sound.
    ///
    /// # Errors
    /// Whatever keeps the first sound from being decoded.
    pub(super) fn open(source: Source, limits: &AudioLimits) -> Result<Self, AudioError> {
        let (demux, decoder) = Demux::open(source, limits)?;
        let rate_hz = demux.params().sample_rate.unwrap_or(0);
        let mut track = Self {
            demux,
            decoder,
            limits: *limits,
            queue: VecDeque::new(),
            spare: Vec::new(),
            link: Link::default(),
            rate_hz,
            held: Vec::new(),
            held_frames: 0,
            last_frames: 0,
            idle: 0,
            ended: false,
            earlier_s: 0.0,
            out_frames: 0,
            damaged: Spans::default(),
            missing: Spans::default(),
            lost_s: 0.0,
            ending: None,
        };
        if let Some(rate_hz) = track.demux.params().sample_rate {
            track.check_rate(rate_hz)?;
        }
        if let Some(channels) = track.demux.params().channels.as_ref() {
            track.check_channels(channels.count())?;
        }
        if let Some(declared_s) = track.declared_exactly_s().filter(|&s| s > limits.duration_s_max) {
            let duration_s_max = limits.duration_s_max;
            return Err(AudioError::TooLong { at_least_s: declared_s, duration_s_max });
        }
        track.start_link();
        while !track.ended && !track.queue.iter().any(|step| matches!(step, Step::Audio(_))) {
            track.advance()?;
        }
        if !track.queue.iter().any(|step| matches!(step, Step::Audio(_))) {
            return Err(track.nothing_decoded());
        }
        Ok(track)
    }

    /// The first sound, which [`Self::open`] decoded.
    pub(super) fn first_audio(&self) -> Option<&Planes> {
        self.queue.iter().find_map(|step| match step {
            Step::Audio(planes) => Some(planes),
            _ => None,
        })
    }

    /// The next step.
    ///
    /// # Errors
    /// Unreadable file, limits exceeded.
    pub(super) fn next(&mut self) -> Result<Step, AudioError> {
        loop {
            if let Some(step) = self.queue.pop_front() {
                return Ok(step);
            }
            if self.ended {
                return Ok(Step::End);
            }
            self.advance()?;
        }
    }

    /// Gives buffers back for reuse.
    pub(super) fn recycle(&mut self, planes: Planes) {
        if self.spare.len() < 4 {
            self.spare.push(planes);
        }
    }

    /// Short name of the codec.
    pub(super) fn codec(&self) -> &str {
        &self.decoder.codec
    }

    /// Name of the container.
    pub(super) fn container(&self) -> &'static str {
        self.demux.container()
    }

    /// Length by the container, an estimate for some, seconds.
    pub(super) fn declared_s(&self) -> Option<f64> {
        if let Some(length_s) = self.demux.edit.and_then(|edit| edit.length_s) {
            return Some(length_s);
        }
        let track = self.demux.track();
        let by_frames = match (track.num_frames, self.demux.params().sample_rate) {
            (Some(frames), Some(rate_hz)) if rate_hz > 0 => Some(frames as f64 / f64::from(rate_hz)),
            _ => None,
        };
        let by_ticks = || {
            let (duration, base) = (track.duration?, track.time_base?);
            Some(base.calc_duration(duration)?.as_secs_f64())
        };
        by_frames.or_else(by_ticks).filter(|s| s.is_finite() && *s > 0.0)
    }

    /// Length of what came out so far, seconds.
    pub(super) fn duration_s(&self) -> f64 {
        self.earlier_s + seconds(self.out_frames, self.rate_hz)
    }

    /// Silence in place of damage so far, seconds.
    pub(super) fn damaged_s(&self) -> f64 {
        self.damaged.total_s() + self.lost_s
    }

    /// What was odd.
    pub(super) fn warnings(&self) -> Vec<AudioWarning> {
        let bytes = self.demux.unexplained_bytes();
        let core_rate_hz = self.rate_hz;
        let lead_in = matches!(self.demux.format(), Format::Mpeg) && self.damaged.is_lead_in(LEAD_IN_S);
        [
            self.decoder.core_only.then_some(AudioWarning::CoreOnly { core_rate_hz }),
            self.damaged.damaged().filter(|_| !lead_in),
            self.missing.missing(),
            self.ending.clone(),
            (bytes > 0).then_some(AudioWarning::UnexplainedBytes { bytes }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Length that the container states by counting, and not by estimating, seconds.
    fn declared_exactly_s(&self) -> Option<f64> {
        let exact = match self.demux.format() {
            Format::Mpeg => self.demux.track().padding.is_some(),
            Format::Adts | Format::Ogg | Format::Matroska => false,
            _ => true,
        };
        self.declared_s().filter(|_| exact)
    }

    fn nothing_decoded(&self) -> AudioError {
        let container = self.demux.container();
        if self.damaged_s() > 0.0 || matches!(self.ending, Some(AudioWarning::Broken { .. })) {
            return AudioError::corrupt(format!("nothing in this {container} file can be decoded"));
        }
        AudioError::Empty { container }
    }

    fn check_rate(&self, rate_hz: u32) -> Result<(), AudioError> {
        let (min, max) = (self.limits.sample_rate_hz_min, self.limits.sample_rate_hz_max);
        if (min..=max).contains(&rate_hz) {
            return Ok(());
        }
        Err(AudioError::unsupported(format!("a sample rate of {rate_hz} Hz, outside {min} to {max} Hz")))
    }

    fn check_channels(&self, channels: usize) -> Result<(), AudioError> {
        let channels_max = self.limits.channels_max;
        if channels > usize::from(channels_max) {
            return Err(AudioError::TooManyChannels { channels, channels_max });
        }
        Ok(())
    }

    /// Sets the visible window of a new chained stream.
    fn start_link(&mut self) {
        let track = self.demux.track();
        let rate_hz = self.demux.params().sample_rate.unwrap_or(0);
        let mut link = Link::default();
        if let Some(pre_skip) = self.decoder.pre_skip() {
            link.skip_s = seconds(pre_skip, super::opus::OPUS_RATE_HZ);
        } else if matches!(self.demux.format(), Format::Mpeg | Format::Caf) {
            let delay = u64::from(track.delay.unwrap_or(0));
            link.skip_s = seconds(delay, rate_hz);
            if let (Some(padding), Some(frames)) = (track.padding, track.num_frames) {
                link.padding = Some((delay + frames, u64::from(padding)));
            }
        }
        if let Some(edit) = self.demux.edit {
            link.skip_s = edit.from_s;
            link.until_s = edit.length_s.map(|length_s| edit.from_s + length_s);
            if edit.late_s > 0.0 && edit.late_s <= GAP_S_MAX && self.rate_hz > 0 {
                let frames = frames(edit.late_s, self.rate_hz);
                self.put_silence(frames);
            }
        }
        self.link = link;
    }

    fn advance(&mut self) -> Result<(), AudioError> {
        match self.demux.next()? {
            Event::Packet(packet) => self.take_packet(&packet)?,
            Event::Nothing { damaged: false } => {}
            Event::Nothing { damaged: true } => {
                let now_s = self.duration_s();
                self.damaged.add(now_s, now_s);
            }
            Event::NewLink => {
                self.release_held(true);
                match self.demux.next_link() {
                    Ok(decoder) => {
                        self.decoder = decoder;
                        self.start_link();
                    }
                    Err(error) => self.end(Ending::Broken(error.to_string())),
                }
            }
            Event::End(ending) => self.end(ending),
        }
        self.idle += 1;
        if self.idle > IDLE_PACKETS_MAX {
            self.end(Ending::Broken("nothing but packets without audio".to_owned()));
        }
        let (at_least_s, duration_s_max) = (self.duration_s(), self.limits.duration_s_max);
        if at_least_s > duration_s_max {
            return Err(AudioError::TooLong { at_least_s, duration_s_max });
        }
        Ok(())
    }

    fn take_packet(&mut self, packet: &Packet) -> Result<(), AudioError> {
        self.catch_up(packet);
        let mut planes = self.spare.pop().unwrap_or_default();
        match self.decoder.decode(packet, &mut planes) {
            Ok(()) if planes.frames() == 0 => {}
            Ok(()) => {
                self.check_rate(planes.rate_hz)?;
                self.check_channels(planes.planes.len())?;
                self.set_rate(planes.rate_hz);
                self.idle = 0;
                self.last_frames = planes.frames() as u64;
                self.put_audio(planes, packet);
            }
            Err(_) => {
                let frames = self.frames_of(packet);
                let start_s = self.duration_s();
                self.pass_silence(frames);
                self.damaged.add(start_s, self.duration_s());
            }
        }
        Ok(())
    }

    /// Frames that a packet stands for when it cannot be decoded.
    fn frames_of(&self, packet: &Packet) -> u64 {
        let by_container = || {
            let base = self.demux.track().time_base?;
            let s = base.calc_duration(packet.block_dur())?.as_secs_f64();
            // A packet of more than a second is a claim, not a packet.
            Some(frames(s.min(1.0), self.rate_hz)).filter(|&n| n > 0)
        };
        // A packet that contradicts itself is taken to be as long as the one before.
        match self.decoder.frames_of(packet) {
            Some(frames) => frames,
            None if self.decoder.takes_packet_trims() => self.last_frames,
            None => by_container().unwrap_or(self.last_frames),
        }
    }

    /// Inserts silence where the timestamps say that packets are missing.
    fn catch_up(&mut self, packet: &Packet) {
        let Some(base) = self.demux.track().time_base else { return };
        let start = packet.pts.get();
        if self.link.origin.is_none() {
            let trimmed = if self.decoder.trims_itself() { packet.trim_start.get() } else { 0 };
            self.link.origin = Some(start.saturating_add_unsigned(trimmed));
            // Matroska counts the encoder's delay below zero.
            if start < 0 && self.link.skip_s == 0.0 && !self.decoder.trims_itself() {
                let early_s = -(start as f64) * f64::from(base.numer.get()) / f64::from(base.denom.get());
                self.link.skip_s = early_s.min(1.0);
            }
        }
        let follows = start == self.link.next_tick;
        let ticks_long = i64::try_from(packet.block_dur().get()).unwrap_or(i64::MAX);
        self.link.next_tick = start.saturating_add(ticks_long);
        // These count their own timestamps by packets; so does Ogg within a page, by what packets claim.
        let own_count = match self.demux.format() {
            Format::Mpeg | Format::Adts => true,
            Format::Ogg => follows,
            _ => false,
        };
        if own_count || self.rate_hz == 0 {
            return;
        }
        let ticks = i128::from(start) - i128::from(self.link.origin.unwrap_or(start));
        let scale = i128::from(base.numer.get()) * i128::from(self.rate_hz);
        let expected = ticks * scale / i128::from(base.denom.get());
        let ahead = expected - i128::from(self.link.position);
        let ahead_s = ahead as f64 / f64::from(self.rate_hz);
        if ahead_s > GAP_S_MAX || ahead_s < -BACK_S_MAX {
            let here = i128::from(self.link.position) * i128::from(base.denom.get()) / scale.max(1);
            self.link.origin = Some(start.saturating_sub(i64::try_from(here).unwrap_or(0)));
        } else if ahead_s > JITTER_S {
            let start_s = self.duration_s();
            self.pass_silence(u64::try_from(ahead).unwrap_or(0));
            let counted = matches!(self.demux.format(), Format::Ogg | Format::Flac);
            if counted {
                self.lost_s += self.duration_s() - start_s;
            }
            if counted || ahead_s >= GAP_WARN_S {
                self.missing.add(start_s, self.duration_s());
            }
        }
    }

    /// Follows a change of the sample rate.
    fn set_rate(&mut self, rate_hz: u32) {
        if rate_hz == self.rate_hz {
            return;
        }
        self.release_held(false);
        if self.rate_hz > 0 {
            self.earlier_s += seconds(self.out_frames, self.rate_hz);
            let scaled = u128::from(self.link.position) * u128::from(rate_hz) / u128::from(self.rate_hz);
            self.link.position = u64::try_from(scaled).unwrap_or(u64::MAX);
        }
        self.out_frames = 0;
        self.rate_hz = rate_hz;
    }

    /// The visible part of the next `count` frames, as a range in them.
    fn visible(&self, count: u64) -> (u64, u64) {
        let skip = frames(self.link.skip_s, self.rate_hz);
        let from = skip.saturating_sub(self.link.position).min(count);
        let until = self.link.until_s.map_or(u64::MAX, |s| frames(s, self.rate_hz));
        let to = until.saturating_sub(self.link.position).min(count);
        (from.min(to), to)
    }

    fn put_audio(&mut self, mut planes: Planes, packet: &Packet) {
        let count = planes.frames() as u64;
        let start = self.link.position;
        let (from, to) = self.visible(count);
        self.link.position += count;
        // What the container calls padding is held back: it is padding if nothing follows, else a wrong claim.
        let mut certain = to;
        if let Some((padding_from, _)) = self.link.padding {
            certain = certain.min(padding_from.saturating_sub(start)).max(from);
        } else if self.decoder.takes_packet_trims() {
            certain = certain.min(count.saturating_sub(packet.trim_end.get())).max(from);
        }
        if certain > from {
            self.release_held(false);
        }
        if certain < to {
            let mut rest = planes.clone();
            rest.crop(certain as usize, to as usize);
            self.held_frames += rest.frames() as u64;
            self.held.push(rest);
        }
        planes.crop(from as usize, certain as usize);
        self.push(planes);
        let most = self.link.padding.map_or(frames(HELD_S_MAX, self.rate_hz), |(_, most)| most);
        if self.held_frames > most {
            self.release_held(false);
            self.link.padding = None;
        }
    }

    fn push(&mut self, planes: Planes) {
        if planes.frames() > 0 {
            self.out_frames += planes.frames() as u64;
            self.queue.push_back(Step::Audio(planes));
        }
    }

    /// Emits what was held back, or drops it as the padding that it is.
    fn release_held(&mut self, is_padding: bool) {
        self.held_frames = 0;
        for planes in std::mem::take(&mut self.held) {
            if !is_padding {
                self.push(planes);
            }
        }
    }

    /// Silence that takes the place of packets, so that it moves the position.
    fn pass_silence(&mut self, count: u64) {
        self.release_held(false);
        let (from, to) = self.visible(count);
        self.link.position += count;
        self.put_silence(to - from);
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

    fn end(&mut self, ending: Ending) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.release_held(true);
        let at_s = self.duration_s();
        let declared_s = self.declared_exactly_s();
        self.ending = match ending {
            Ending::Broken(reason) => Some(AudioWarning::Broken { at_s, reason }),
            Ending::CutShort => Some(AudioWarning::CutShort { at_s, declared_s }),
            Ending::Complete => declared_s
                .filter(|declared_s| at_s + SHORT_S < *declared_s)
                .map(|_| AudioWarning::CutShort { at_s, declared_s }),
        };
    }
}

#[allow(clippy::cast_precision_loss, reason = "frames of at most a day or two are far below 2^53")]
fn seconds(frames: u64, rate_hz: u32) -> f64 {
    if rate_hz == 0 { 0.0 } else { frames as f64 / f64::from(rate_hz) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and negative is 0")]
fn frames(seconds: f64, rate_hz: u32) -> u64 {
    (seconds * f64::from(rate_hz)).round() as u64
}
