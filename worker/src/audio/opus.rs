//! Opus packets to samples at 48 kHz (RFC 6716, RFC 7845).
//!
//! The containers only hand over packets; the header, the channel mapping and the output gain are read here. Trimming
//! (pre-skip, end) is the track's business.

use ropus::{Channels, DecodeMode, Decoder, OpusMSDecoder};

use super::error::AudioError;

/// Opus always decodes at this rate here.
pub(super) const OPUS_RATE_HZ: u32 = 48_000;
/// Longest packet: 120 ms.
const PACKET_FRAMES_MAX: usize = 5760;

/// The identification header (RFC 7845, section 5.1).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpusHead {
    /// Output channels, 1 to 255.
    pub channels: u8,
    /// Samples at 48 kHz to drop at the start.
    pub pre_skip: u16,
    /// Linear gain to apply.
    pub gain: f32,
    mapping: Mapping,
}

#[derive(Debug, Clone, PartialEq)]
enum Mapping {
    Plain,
    Multi { streams: u8, coupled: u8, table: Vec<u8> },
}

impl OpusHead {
    /// Reads a header. Those of MP4 boxes have big-endian numbers behind the same magic; their version is 0, not 1.
    ///
    /// # Errors
    /// [`AudioError::Corrupt`] when it is cut off or contradicts itself.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, AudioError> {
        let broken = || AudioError::corrupt("the Opus header is cut off or contradicts itself");
        let fixed: &[u8; 19] = bytes.first_chunk().ok_or_else(broken)?;
        if &fixed[..8] != b"OpusHead" {
            return Err(broken());
        }
        let (version, channels, family) = (fixed[8], fixed[9], fixed[18]);
        let number = |at: usize| {
            let pair = [fixed[at], fixed[at + 1]];
            if version == 0 { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        };
        let gain_q8 = i16::from_ne_bytes(number(16).to_ne_bytes());
        let mapping = match (family, channels) {
            (_, 0) => return Err(broken()),
            (0, 1 | 2) => Mapping::Plain,
            (0, _) => return Err(broken()),
            (1 | 255, _) => {
                let rest = &bytes[19..];
                let table = rest.get(2..2 + usize::from(channels)).ok_or_else(broken)?.to_vec();
                let (streams, coupled) = (rest[0], rest[1]);
                let sources = u16::from(streams) + u16::from(coupled);
                if streams == 0 || coupled > streams || sources > 255 {
                    return Err(broken());
                }
                if table.iter().any(|&source| source != 255 && u16::from(source) >= sources) {
                    return Err(broken());
                }
                Mapping::Multi { streams, coupled, table }
            }
            _ => {
                return Err(AudioError::unsupported(format!(
                    "Opus with the channel mapping family {family}"
                )));
            }
        };
        let gain = 10f32.powf(f32::from(gain_q8) / 256.0 / 20.0);
        Ok(Self { channels, pre_skip: number(10), gain, mapping })
    }
}

enum Engine {
    Plain(Box<Decoder>),
    Multi(Box<OpusMSDecoder>),
}

/// A decoder for one Opus track.
pub(super) struct OpusDecoder {
    head: OpusHead,
    engine: Engine,
    floats: Vec<f32>,
    integers: Vec<i16>,
}

impl OpusDecoder {
    /// Prepares decoding.
    ///
    /// # Errors
    /// [`AudioError::Corrupt`] when the decoder refuses the header.
    pub(super) fn new(head: OpusHead) -> Result<Self, AudioError> {
        let refused = || AudioError::corrupt("the Opus header describes no possible decoder");
        let engine = match &head.mapping {
            Mapping::Plain => {
                let channels = if head.channels == 1 { Channels::Mono } else { Channels::Stereo };
                Engine::Plain(Box::new(Decoder::new(OPUS_RATE_HZ, channels).map_err(|_| refused())?))
            }
            Mapping::Multi { streams, coupled, table } => {
                let decoder = OpusMSDecoder::new(
                    OPUS_RATE_HZ as i32,
                    i32::from(head.channels),
                    i32::from(*streams),
                    i32::from(*coupled),
                    table,
                );
                Engine::Multi(Box::new(decoder.map_err(|_| refused())?))
            }
        };
        Ok(Self { head, engine, floats: Vec::new(), integers: Vec::new() })
    }

    /// The header.
    pub(super) fn head(&self) -> &OpusHead {
        &self.head
    }

    /// Decodes a packet into one vector a channel.
    ///
    /// # Errors
    /// A message when the packet is damaged; the decoder goes on with the next.
    pub(super) fn decode(&mut self, packet: &[u8], planes: &mut Vec<Vec<f32>>) -> Result<(), String> {
        if packet.is_empty() {
            return Err("empty Opus packet".to_owned());
        }
        let channels = usize::from(self.head.channels);
        let samples = PACKET_FRAMES_MAX * channels;
        let frames = match &mut self.engine {
            Engine::Plain(decoder) => {
                self.floats.resize(samples, 0.0);
                decoder
                    .decode_float(packet, &mut self.floats, DecodeMode::Normal)
                    .map_err(|error| format!("Opus: {error:?}"))?
            }
            Engine::Multi(decoder) => {
                self.integers.resize(samples, 0);
                let bytes = i32::try_from(packet.len()).map_err(|_| "Opus packet too long".to_owned())?;
                let frames = decoder
                    .decode(Some(packet), bytes, &mut self.integers, PACKET_FRAMES_MAX as i32, false)
                    .map_err(|code| format!("Opus error {code}"))?;
                self.floats.clear();
                self.floats.extend(self.integers.iter().map(|&s| f32::from(s) / 32768.0));
                usize::try_from(frames).unwrap_or(0)
            }
        };
        planes.resize_with(channels, Vec::new);
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.clear();
            let of_channel = self.floats[channel..].iter().step_by(channels).take(frames);
            plane.extend(of_channel.map(|sample| sample * self.head.gain));
        }
        Ok(())
    }
}

/// Frames at 48 kHz that a packet decodes to (RFC 6716, section 3.1), for packets that cannot be decoded.
pub(super) fn packet_frames(packet: &[u8]) -> Option<u64> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        12..=15 => [480, 960][usize::from(config % 2)],
        _ => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 63),
    };
    Some(frame * count).filter(|&frames| frames > 0 && frames <= PACKET_FRAMES_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::fixtures::{Noise, sine};

    pub(in crate::audio) fn head(version: u8, channels: u8, pre_skip: u16, gain_q8: i16) -> Vec<u8> {
        let mut head = b"OpusHead".to_vec();
        head.extend([version, channels]);
        let numbers = (pre_skip, 48_000u32, gain_q8);
        if version == 0 {
            head.extend(numbers.0.to_be_bytes());
            head.extend(numbers.1.to_be_bytes());
            head.extend(numbers.2.to_be_bytes());
        } else {
            head.extend(numbers.0.to_le_bytes());
            head.extend(numbers.1.to_le_bytes());
            head.extend(numbers.2.to_le_bytes());
        }
        head.push(0);
        head
    }

    #[test]
    fn both_byte_orders_are_read() {
        for version in [0, 1] {
            let head = OpusHead::read(&head(version, 2, 312, -1536)).unwrap();
            assert_eq!((head.channels, head.pre_skip), (2, 312));
            assert!((head.gain - 0.501_187).abs() < 1e-5, "-6 dB is {}", head.gain);
        }
    }

    #[test]
    fn impossible_headers_are_refused() {
        assert!(OpusHead::read(b"OpusHead").is_err());
        assert!(OpusHead::read(&head(1, 0, 0, 0)).is_err());
        assert!(OpusHead::read(&head(1, 3, 0, 0)).is_err());
        let family1 = |streams: u8, coupled: u8, table: &[u8]| {
            let mut bytes = head(1, table.len() as u8, 0, 0);
            bytes[18] = 1;
            bytes.extend([streams, coupled]);
            bytes.extend(table);
            OpusHead::read(&bytes)
        };
        assert!(family1(2, 1, &[0, 1, 2]).is_ok());
        assert!(family1(2, 1, &[0, 1, 3]).is_err());
        assert!(family1(0, 0, &[0]).is_err());
        assert!(family1(1, 2, &[0]).is_err());
    }

    #[test]
    fn a_tone_survives_a_round_trip() {
        let tone = sine(440.0, 48_000, 48_000, 0.5);
        let mut encoder =
            ropus::Encoder::builder(48_000, Channels::Mono, ropus::Application::Audio).build().unwrap();
        let head = OpusHead::read(&head(1, 1, 312, 0)).unwrap();
        let mut decoder = OpusDecoder::new(head).unwrap();
        let (mut heard, mut planes, mut buf) = (Vec::<f32>::new(), Vec::new(), vec![0u8; 4000]);
        for frame in tone.chunks_exact(960) {
            let bytes = encoder.encode_float(frame, &mut buf).unwrap();
            assert_eq!(packet_frames(&buf[..bytes]), Some(960));
            decoder.decode(&buf[..bytes], &mut planes).unwrap();
            heard.extend(&planes[0]);
        }
        let energy = |s: &[f32]| s.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let error: Vec<f32> = heard[312..].iter().zip(&tone).map(|(a, b)| a - b).collect();
        let ratio_db = 10.0 * (energy(&tone) / energy(&error[..40_000])).log10();
        assert!(ratio_db > 20.0, "{ratio_db} dB");
    }

    #[test]
    fn damaged_packets_are_errors_or_noise_never_more() {
        let mut noise = Noise::new(5);
        let mut decoder = OpusDecoder::new(OpusHead::read(&head(1, 2, 0, 0)).unwrap()).unwrap();
        let mut planes = Vec::new();
        let mut refused = 0;
        for length in 0..400usize {
            let packet = noise.bytes(length);
            match decoder.decode(&packet, &mut planes) {
                Ok(()) => assert!(planes.iter().flatten().all(|s| s.is_finite())),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn packet_lengths_follow_the_table_of_contents() {
        assert_eq!(packet_frames(&[0x48]), Some(960)); // config 9, SILK wideband 20 ms
        assert_eq!(packet_frames(&[0x18]), Some(2880)); // config 3, 60 ms
        assert_eq!(packet_frames(&[0xe3, 48]), Some(48 * 120)); // config 28, 2.5 ms, 48 frames
        assert_eq!(packet_frames(&[0xff, 63]), None); // 63 times 20 ms is too long
        assert_eq!(packet_frames(&[]), None);
    }
}
