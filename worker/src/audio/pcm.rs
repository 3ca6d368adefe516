//! Packets of samples from WAV and its relatives.

use std::io::{BufReader, Read};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, well_known as codec};
use symphonia::core::errors::Result as LibraryResult;
use symphonia::core::formats::Track;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase, Timestamp};

use super::error::AudioError;
use super::limits::AudioLimits;
use super::source::Source;
use super::wave::{Coding, Layout};

/// Frames a packet: small against a block, large against the cost of a call.
const PACKET_FRAMES: u64 = 4096;

/// Reads samples as packets of a few thousand frames.
pub(super) struct PcmReader {
    reader: BufReader<Source>,
    track: Track,
    layout: Layout,
    frames_per_block: u64,
    blocks_left: u64,
    frames_read: u64,
}

impl PcmReader {
    /// Checks the layout against the limits and prepares reading.
    ///
    /// # Errors
    /// Too many channels, an impossible block size, or no sample at all.
    pub(super) fn new(
        source: Source,
        layout: Layout,
        container: &'static str,
        limits: &AudioLimits,
    ) -> Result<Self, AudioError> {
        let (channels, align) = (u64::from(layout.channels), u64::from(layout.block_align));
        if layout.channels > limits.channels_max {
            let channels_max = limits.channels_max;
            return Err(AudioError::TooManyChannels { channels: layout.channels.into(), channels_max });
        }
        let small = || AudioError::corrupt(format!("the header states blocks of {align} bytes"));
        // Each ADPCM block starts with its state, and the first samples are part of it.
        let frames_per_block = match layout.coding {
            Coding::AdpcmMs => align.checked_sub(7 * channels).ok_or_else(small)? * 2 / channels + 2,
            Coding::AdpcmIma => align.checked_sub(4 * channels).ok_or_else(small)? * 2 / channels + 1,
            _ => 1,
        };
        let bytes = layout.data_end - layout.data_start;
        let blocks_left = bytes.checked_div(align).ok_or_else(small)?;
        if blocks_left == 0 {
            return Err(AudioError::Empty { container });
        }
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(codec_id(layout.coding))
            .with_sample_rate(layout.rate_hz)
            .with_channels(Channels::Discrete(layout.channels))
            .with_max_frames_per_packet(PACKET_FRAMES.max(frames_per_block))
            .with_frames_per_block(frames_per_block);
        let mut track = Track::new(0);
        track.with_codec_params(CodecParameters::Audio(params));
        track.with_num_frames(layout.claimed_bytes.unwrap_or(bytes) / align * frames_per_block);
        if let Some(base) = TimeBase::try_from_recip(layout.rate_hz) {
            track.with_time_base(base);
        }
        let reader = BufReader::with_capacity(64 << 10, source.region(layout.data_start, layout.data_end));
        Ok(Self { reader, track, layout, frames_per_block, blocks_left, frames_read: 0 })
    }

    /// The only track.
    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// Where the samples lie.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn next_packet(&mut self) -> LibraryResult<Option<Packet>> {
        let blocks = self.blocks_left.min((PACKET_FRAMES / self.frames_per_block).max(1));
        if blocks == 0 {
            return Ok(None);
        }
        let bytes = usize::try_from(blocks * u64::from(self.layout.block_align)).unwrap_or(0);
        let mut data = vec![0u8; bytes];
        self.reader.read_exact(&mut data)?;
        self.blocks_left -= blocks;
        let frames = blocks * self.frames_per_block;
        let pts = Timestamp::new(i64::try_from(self.frames_read).unwrap_or(i64::MAX));
        self.frames_read += frames;
        Ok(Some(Packet::new(0, pts, Duration::new(frames), data)))
    }
}

fn codec_id(coding: Coding) -> AudioCodecId {
    match coding {
        Coding::U8 => codec::CODEC_ID_PCM_U8,
        Coding::I8 => codec::CODEC_ID_PCM_S8,
        Coding::IntLe(2) => codec::CODEC_ID_PCM_S16LE,
        Coding::IntLe(3) => codec::CODEC_ID_PCM_S24LE,
        Coding::IntLe(_) => codec::CODEC_ID_PCM_S32LE,
        Coding::IntBe(2) => codec::CODEC_ID_PCM_S16BE,
        Coding::IntBe(3) => codec::CODEC_ID_PCM_S24BE,
        Coding::IntBe(_) => codec::CODEC_ID_PCM_S32BE,
        Coding::FloatLe(4) => codec::CODEC_ID_PCM_F32LE,
        Coding::FloatLe(_) => codec::CODEC_ID_PCM_F64LE,
        Coding::FloatBe(4) => codec::CODEC_ID_PCM_F32BE,
        Coding::FloatBe(_) => codec::CODEC_ID_PCM_F64BE,
        Coding::ALaw => codec::CODEC_ID_PCM_ALAW,
        Coding::MuLaw => codec::CODEC_ID_PCM_MULAW,
        Coding::AdpcmMs => codec::CODEC_ID_ADPCM_MS,
        Coding::AdpcmIma => codec::CODEC_ID_ADPCM_IMA_WAV,
    }
}
