//! A file as a stream of blocks.

use std::path::Path;
use std::sync::Arc;

use super::downmix::Downmix;
use super::error::AudioError;
use super::level::{Limiter, silence_impossible};
use super::limits::{AudioLimits, ChannelMode};
use super::resample::Resampler;
use super::source::Source;
use super::summary::{AudioSummary, AudioWarning};
use super::timeline::Step;
use super::track::TrackReader;

/// Sample rate of what comes out, hertz.
pub const SAMPLE_RATE_HZ: u32 = 16_000;
/// Samples of every block but the last: one second.
pub const BLOCK_SAMPLES: usize = 16_000;

/// What the file is.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioInfo {
    /// Sample rate of the source (of its first chained stream), hertz.
    pub sample_rate_hz: u32,
    /// Channels of the source.
    pub channels: u16,
    /// Short name of the codec: `aac`, `mp3`, `opus`, `pcm_s16le`.
    pub codec: String,
    /// Name of the container: `wav`, `mp4`, `matroska`.
    pub container: &'static str,
    /// Length by the header, seconds; an estimate for MPEG audio, and only the first of chained streams.
    pub declared_duration_s: Option<f64>,
}

/// Mono audio at 16 kHz, block by block.
pub struct AudioStream {
    track: TrackReader,
    info: AudioInfo,
    limits: AudioLimits,
    mode: ChannelMode,
    mixer: Option<Downmix>,
    mixed: Vec<f32>,
    lanes: Vec<Lane>,
    rate_hz: u32,
    silence: u64,
    samples: u64,
    not_numbers: u64,
    channels_changed: Option<AudioWarning>,
    ended: bool,
}

/// One output.
struct Lane {
    limiter: Limiter,
    resampler: Resampler,
    ready: Vec<f32>,
}

impl AudioStream {
    /// Opens a file and decodes up to its first sound, so that what cannot be decoded is known here.
    ///
    /// # Errors
    /// Anything of [`AudioError`] but damage behind the first sound.
    pub fn open(path: &Path, limits: &AudioLimits, mode: ChannelMode) -> Result<Self, AudioError> {
        Self::start(Source::open(path, limits)?, limits, mode)
    }

    /// The same for bytes in memory.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: Arc<[u8]>, limits: &AudioLimits, mode: ChannelMode) -> Result<Self, AudioError> {
        Self::start(Source::from_bytes(bytes, limits)?, limits, mode)
    }

    fn start(source: Source, limits: &AudioLimits, mode: ChannelMode) -> Result<Self, AudioError> {
        let track = TrackReader::open(source, limits)?;
        let first = track.first_audio().expect("an open track has its first sound");
        let (rate_hz, channels) = (first.rate_hz, first.planes.len());
        let info = AudioInfo {
            sample_rate_hz: rate_hz,
            channels: u16::try_from(channels).unwrap_or(u16::MAX),
            codec: track.codec().to_owned(),
            container: track.container(),
            declared_duration_s: track.declared_s(),
        };
        let outputs = match mode {
            ChannelMode::Mix => 1,
            ChannelMode::Separate => channels,
        };
        let lanes = (0..outputs).map(|_| Lane::new(rate_hz)).collect::<Result<_, _>>()?;
        Ok(Self {
            track,
            info,
            limits: *limits,
            mode,
            mixer: None,
            mixed: Vec::new(),
            lanes,
            rate_hz,
            silence: 0,
            samples: 0,
            not_numbers: 0,
            channels_changed: None,
            ended: false,
        })
    }

    /// What the file is.
    #[must_use]
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Outputs: 1 when mixed, one a channel when kept separate.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.lanes.len()
    }

    /// Puts the next block into `block`, one vector an output, all of one length: [`BLOCK_SAMPLES`], less in the last.
    /// Says whether there was one; after an error or the end there is none.
    ///
    /// # Errors
    /// Unreadable file, limits exceeded, or, at the end, more damage than the limit.
    pub fn next_block(&mut self, block: &mut Vec<Vec<f32>>) -> Result<bool, AudioError> {
        block.resize_with(self.lanes.len(), Vec::new);
        while !self.ended && self.ready() < BLOCK_SAMPLES {
            self.pump().inspect_err(|_| {
                self.ended = true;
                self.lanes.iter_mut().for_each(|lane| lane.ready.clear());
            })?;
        }
        let count = self.ready().min(BLOCK_SAMPLES);
        for (lane, out) in self.lanes.iter_mut().zip(block) {
            out.clear();
            out.extend(lane.ready.drain(..count).map(|s| s.clamp(-1.0, 1.0)));
        }
        self.samples += count as u64;
        Ok(count > 0)
    }

    /// How far along the stream is, 0 to 1, by bytes read: for progress bars, right also where a header lies about the
    /// length or says nothing.
    #[must_use]
    pub fn progress(&self) -> f64 {
        if self.ended { 1.0 } else { self.track.read_share() }
    }

    /// What is known so far; complete once [`Self::next_block`] gave `false`.
    #[must_use]
    pub fn summary(&self) -> AudioSummary {
        let mut warnings = self.track.warnings();
        let samples = self.not_numbers;
        warnings.extend((samples > 0).then_some(AudioWarning::NotNumbers { samples }));
        let peak = self.lanes.iter().map(|lane| lane.limiter.highest()).fold(1.0, f32::max);
        // Lossy codecs overshoot full scale a little; that is no news.
        warnings.extend((peak > 2.0).then_some(AudioWarning::OverRange { peak }));
        warnings.extend(self.channels_changed.clone());
        AudioSummary {
            duration_s: self.track.duration_s(),
            samples: self.samples,
            damaged_s: self.track.damaged_s(),
            warnings,
        }
    }

    fn ready(&self) -> usize {
        self.lanes.first().map_or(0, |lane| lane.ready.len())
    }

    /// Moves one step from the track to the outputs.
    fn pump(&mut self) -> Result<(), AudioError> {
        if self.silence > 0 {
            let frames = self.silence.min(u64::from(self.rate_hz));
            self.silence -= frames;
            let channels = self.mixer.as_ref().map_or(1, Downmix::channels);
            let planes = vec![vec![0.0; frames as usize]; channels];
            return self.feed(&planes);
        }
        match self.track.next()? {
            Step::Audio(mut planes) => {
                self.follow_rate(planes.rate_hz)?;
                for plane in &mut planes.planes {
                    self.not_numbers += silence_impossible(plane);
                }
                self.feed(&planes.planes)?;
                self.track.recycle(planes);
            }
            Step::Silence { frames, rate_hz } => {
                self.follow_rate(rate_hz)?;
                self.silence = frames;
            }
            Step::End => {
                self.finish_rate()?;
                self.ended = true;
                self.judge()?;
            }
        }
        Ok(())
    }

    /// Starts over at a new sample rate; what is inside comes out first.
    fn follow_rate(&mut self, rate_hz: u32) -> Result<(), AudioError> {
        if rate_hz != self.rate_hz {
            self.finish_rate()?;
            self.rate_hz = rate_hz;
            for lane in &mut self.lanes {
                lane.resampler = Resampler::new(rate_hz)?;
            }
        }
        Ok(())
    }

    fn finish_rate(&mut self) -> Result<(), AudioError> {
        self.finish_mixer()?;
        for lane in &mut self.lanes {
            lane.resampler.finish(&mut lane.ready)?;
        }
        Ok(())
    }

    fn finish_mixer(&mut self) -> Result<(), AudioError> {
        if let Some(mut mixer) = self.mixer.take() {
            self.mixed.clear();
            mixer.flush(&mut self.mixed);
            self.lanes[0].feed(&mut self.mixed, self.rate_hz)?;
        }
        Ok(())
    }

    fn feed(&mut self, planes: &[Vec<f32>]) -> Result<(), AudioError> {
        if self.mode == ChannelMode::Separate {
            return self.feed_separate(planes);
        }
        if self.mixer.as_ref().is_some_and(|mixer| mixer.channels() != planes.len()) {
            self.finish_mixer()?;
        }
        let mixer = self.mixer.get_or_insert_with(|| Downmix::new(planes.len(), self.rate_hz));
        self.mixed.clear();
        mixer.push(planes, &mut self.mixed);
        self.lanes[0].feed(&mut self.mixed, self.rate_hz)
    }

    fn feed_separate(&mut self, planes: &[Vec<f32>]) -> Result<(), AudioError> {
        let frames = planes.first().map_or(0, Vec::len);
        let is_silence = self.silence > 0 || planes.iter().flatten().all(|s| *s == 0.0);
        if planes.len() != self.lanes.len() && !is_silence && self.channels_changed.is_none() {
            let (at_s, channels) = (self.track.duration_s(), planes.len());
            self.channels_changed = Some(AudioWarning::ChannelsChanged { at_s, channels });
        }
        for (channel, lane) in self.lanes.iter_mut().enumerate() {
            self.mixed.clear();
            match planes.get(channel) {
                Some(plane) => self.mixed.extend_from_slice(plane),
                None => self.mixed.resize(frames, 0.0),
            }
            lane.feed(&mut self.mixed, self.rate_hz)?;
        }
        Ok(())
    }

    /// Refuses a file that is mostly damage.
    fn judge(&self) -> Result<(), AudioError> {
        let (damaged_s, duration_s) = (self.track.damaged_s(), self.track.duration_s());
        if damaged_s > duration_s * self.limits.damaged_share_max {
            return Err(AudioError::corrupt(format!(
                "most of the audio cannot be decoded: {damaged_s:.1} s of {duration_s:.1} s"
            )));
        }
        Ok(())
    }
}

impl Lane {
    fn new(rate_hz: u32) -> Result<Self, AudioError> {
        Ok(Self { limiter: Limiter::new(), resampler: Resampler::new(rate_hz)?, ready: Vec::new() })
    }

    fn feed(&mut self, samples: &mut [f32], rate_hz: u32) -> Result<(), AudioError> {
        self.limiter.apply(samples, rate_hz);
        self.resampler.push(samples, &mut self.ready)
    }
}
