//! One audio track: what decodes is placed where it belongs, what does not becomes silence of its length.

use symphonia::core::packet::Packet;

use super::decode::{Decoder, Planes};
use super::demux::{Demux, Ending, Event};
use super::error::AudioError;
use super::limits::AudioLimits;
use super::opus::OPUS_RATE_HZ;
use super::sniff::Format;
use super::source::Source;
use super::summary::{AudioWarning, Spans};
use super::timeline::{Stamps, Step, Timeline, Window, frames, seconds};

/// Shortest gap worth a warning in containers where encoders may leave out silence, seconds.
const GAP_WARN_S: f64 = 1.0;
/// Packets in a row that may bring nothing before the file is given up.
const IDLE_PACKETS_MAX: u32 = 200_000;
/// A file that ends this much before what it declares was cut short, seconds.
const SHORT_S: f64 = 0.5;
/// Damage at the very start of bare MPEG audio is a cut, not damage: its first frames refer to ones before, seconds.
const LEAD_IN_S: f64 = 0.1;
/// A packet that stands for more than this is a claim, not a packet, seconds.
const PACKET_S_MAX: f64 = 1.0;

/// What the treble of HE-AAC is late, samples of the core (ISO/IEC 14496-3, 4.6.18.5).
const SBR_DELAY: u64 = 481;

/// Reads one audio track.
pub(super) struct TrackReader {
    demux: Demux,
    decoder: Decoder,
    limits: AudioLimits,
    timeline: Timeline,
    /// Frames of the last packet that decoded.
    last_frames: u64,
    idle: u32,
    ended: bool,
    damaged: Spans,
    missing: Spans,
    /// Of what is missing, the part that was damaged, seconds.
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
        let params = demux.params();
        let (rate_hz, channels) = (params.sample_rate, params.channels.as_ref().map(|c| c.count()));
        let mut track = Self {
            demux,
            decoder,
            limits: *limits,
            timeline: Timeline::new(rate_hz.unwrap_or(0)),
            last_frames: 0,
            idle: 0,
            ended: false,
            damaged: Spans::default(),
            missing: Spans::default(),
            lost_s: 0.0,
            ending: None,
        };
        rate_hz.map_or(Ok(()), |rate_hz| track.check_rate(rate_hz))?;
        track.check_channels(channels.unwrap_or(1))?;
        track.check_length(track.declared_exactly_s().unwrap_or(0.0))?;
        track.timeline.start(track.window());
        while !track.ended && track.timeline.first_audio().is_none() {
            track.advance()?;
        }
        if track.timeline.first_audio().is_none() {
            return Err(track.nothing_decoded());
        }
        Ok(track)
    }

    /// The first sound, which [`Self::open`] decoded.
    pub(super) fn first_audio(&self) -> Option<&Planes> {
        self.timeline.first_audio()
    }

    /// The next step.
    ///
    /// # Errors
    /// Unreadable file, limits exceeded.
    pub(super) fn next(&mut self) -> Result<Step, AudioError> {
        loop {
            if let Some(step) = self.timeline.pop() {
                return Ok(step);
            }
            if self.ended {
                return Ok(Step::End);
            }
            self.advance()?;
        }
    }

    /// Gives a buffer back for reuse.
    pub(super) fn recycle(&mut self, planes: Planes) {
        self.timeline.recycle(planes);
    }

    /// Short name of the codec.
    pub(super) fn codec(&self) -> &str {
        &self.decoder.codec
    }

    /// Name of the container.
    pub(super) fn container(&self) -> &'static str {
        self.demux.container()
    }

    /// Share of the file that was read, 0 to 1.
    pub(super) fn read_share(&self) -> f64 {
        self.demux.read_share()
    }

    /// Length by the container, an estimate for some, seconds.
    pub(super) fn declared_s(&self) -> Option<f64> {
        self.demux.declared_s()
    }

    /// Length of what came out so far, seconds.
    pub(super) fn duration_s(&self) -> f64 {
        self.timeline.now_s()
    }

    /// Silence in place of damage so far, seconds.
    pub(super) fn damaged_s(&self) -> f64 {
        self.damaged.total_s() + self.lost_s
    }

    /// What was odd.
    pub(super) fn warnings(&self) -> Vec<AudioWarning> {
        let bytes = self.demux.unexplained_bytes();
        let lead_in = self.demux.format() == Format::Mpeg && self.damaged.is_lead_in(LEAD_IN_S);
        [
            self.decoder.core_rate_hz.map(|core_rate_hz| AudioWarning::CoreOnly { core_rate_hz }),
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

    fn check_length(&self, at_least_s: f64) -> Result<(), AudioError> {
        let duration_s_max = self.limits.duration_s_max;
        if at_least_s > duration_s_max {
            return Err(AudioError::TooLong { at_least_s, duration_s_max });
        }
        Ok(())
    }

    /// The visible part of the current chained stream.
    fn window(&self) -> Window {
        let mut window = Window::default();
        let track = self.demux.track();
        if let Some(pre_skip) = self.decoder.pre_skip() {
            window.skip_s = seconds(pre_skip, OPUS_RATE_HZ);
        } else if matches!(self.demux.format(), Format::Mpeg | Format::Caf) {
            let delay = u64::from(track.delay.unwrap_or(0));
            window.skip_s = seconds(delay, self.demux.params().sample_rate.unwrap_or(0));
            if let (Some(padding), Some(frames)) = (track.padding, track.num_frames) {
                window.padding = Some((frames.saturating_add(delay), u64::from(padding)));
            }
        }
        if let Some(edit) = self.demux.edit() {
            // The list counts the delay of the treble's decoder, which the core does not have.
            let early_s = self.decoder.core_rate_hz.map_or(0.0, |rate_hz| seconds(SBR_DELAY, rate_hz));
            window.late_s = edit.late_s;
            window.skip_s = (edit.from_s - early_s).max(0.0);
            window.until_s = edit.length_s.map(|length_s| window.skip_s + length_s);
        }
        window
    }

    fn advance(&mut self) -> Result<(), AudioError> {
        match self.demux.next()? {
            Event::Packet(packet) => self.take_packet(&packet)?,
            Event::Nothing { damaged: false } => {}
            Event::Nothing { damaged: true } => {
                let now_s = self.duration_s();
                self.damaged.add(now_s, now_s);
            }
            Event::NewLink => match self.demux.next_link() {
                Ok(decoder) => {
                    self.decoder = decoder;
                    self.timeline.start(self.window());
                }
                Err(error) => self.end(Ending::Broken(error.to_string())),
            },
            Event::End(ending) => self.end(ending),
        }
        self.idle += 1;
        if self.idle > IDLE_PACKETS_MAX {
            self.end(Ending::Broken("nothing but packets without audio".to_owned()));
        }
        self.check_length(self.duration_s())
    }

    fn take_packet(&mut self, packet: &Packet) -> Result<(), AudioError> {
        self.catch_up(packet);
        let mut planes = self.timeline.buffer();
        match self.decoder.decode(packet, &mut planes) {
            Ok(()) if planes.frames() == 0 => self.timeline.recycle(planes),
            Ok(()) => {
                self.check_rate(planes.rate_hz)?;
                self.check_channels(planes.planes.len())?;
                self.timeline.set_rate(planes.rate_hz);
                self.idle = 0;
                self.last_frames = planes.frames() as u64;
                let trim_end = if self.decoder.takes_packet_trims() { packet.trim_end.get() } else { 0 };
                self.timeline.put_audio(planes, trim_end);
            }
            Err(_) => {
                let start_s = self.duration_s();
                self.timeline.pass_silence(self.frames_of(packet));
                self.damaged.add(start_s, self.duration_s());
            }
        }
        Ok(())
    }

    /// Frames that a packet stands for when it cannot be decoded.
    fn frames_of(&self, packet: &Packet) -> u64 {
        let by_container = || {
            let s = self.demux.track().time_base?.calc_duration(packet.block_dur())?.as_secs_f64();
            Some(frames(s.min(PACKET_S_MAX), self.timeline.rate_hz())).filter(|&n| n > 0)
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
        let format = self.demux.format();
        let stamps = match format {
            Format::Mpeg | Format::Adts => Stamps::Counted,
            Format::Ogg => Stamps::PerPage,
            _ => Stamps::PerPacket,
        };
        let start_s = self.duration_s();
        let gap_s = self.timeline.catch_up(packet, base, stamps, self.decoder.trims_itself());
        // Ogg and FLAC never leave audio out.
        let is_loss = matches!(format, Format::Ogg | Format::Flac);
        if is_loss {
            self.lost_s += gap_s;
        }
        if gap_s > 0.0 && (is_loss || gap_s >= GAP_WARN_S) {
            self.missing.add(start_s, start_s + gap_s);
        }
    }

    fn end(&mut self, ending: Ending) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.timeline.finish();
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
