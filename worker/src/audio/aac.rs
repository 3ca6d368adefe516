//! What an AAC stream really is, and the part of HE-AAC that can be decoded.
//!
//! HE-AAC is an AAC-LC stream at half the sample rate (the core, up to 5 to 8 kHz of speech band at usual rates) with a
//! recipe for the treble beside it (SBR), and in version 2 for the stereo image (PS). The library decodes AAC-LC only.
//! Decoding the core gives duller audio of the right length; the networks look at 0 to 8 kHz, of which the core holds
//! most. So an announced HE-AAC stream is opened as its core, with a warning; one that does not announce itself
//! (implicit signalling) is decoded the same way by itself, and cannot be told from AAC-LC at 22 or 24 kHz.

use super::error::AudioError;

/// The parts of an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1) that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AacConfig {
    /// Audio object type of the core: 2 for AAC-LC.
    pub object_type: u32,
    /// Sampling frequency index of the core; 15 when the rate is written out.
    rate_index: u32,
    /// Written-out rate of the core, hertz.
    rate_hz: u32,
    /// Channel configuration of the core; 0 when a program config element follows.
    channel_config: u32,
    /// SBR or PS is announced.
    pub high_efficiency: bool,
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            short => Some(short),
        }
    }

    /// Index and, for index 15, the rate.
    fn rate(&mut self) -> Option<(u32, u32)> {
        match self.take(4)? {
            15 => Some((15, self.take(24)?)),
            index => Some((index, 0)),
        }
    }
}

impl AacConfig {
    /// Reads a config; `None` when it is cut off.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bits = Bits { bytes, at: 0 };
        let mut object_type = bits.object_type()?;
        let (rate_index, rate_hz) = bits.rate()?;
        let channel_config = bits.take(4)?;
        // 5 is SBR and 29 is PS: the core's own type follows.
        let mut high_efficiency = object_type == 5 || object_type == 29;
        if high_efficiency {
            bits.rate()?;
            object_type = bits.object_type()?;
        } else if object_type == 2 {
            high_efficiency = Self::announces_behind(&mut bits).unwrap_or(false);
        }
        Some(Self { object_type, rate_index, rate_hz, channel_config, high_efficiency })
    }

    /// The backward-compatible form: the sync word 0x2b7 behind a plain AAC-LC config.
    fn announces_behind(bits: &mut Bits<'_>) -> Option<bool> {
        bits.take(1)?; // frame length
        if bits.take(1)? == 1 {
            bits.take(14)?; // core coder delay
        }
        bits.take(1)?; // extension flag
        Some(bits.take(11)? == 0x2b7 && bits.object_type()? == 5 && bits.take(1)? == 1)
    }

    /// Sample rate of the core, hertz; 0 for an index that stands for none.
    pub(super) fn core_rate_hz(&self) -> u32 {
        const RATES_HZ: [u32; 13] = [
            96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
            7_350,
        ];
        if self.rate_index == 15 {
            return self.rate_hz;
        }
        RATES_HZ.get(self.rate_index as usize).copied().unwrap_or(0)
    }

    /// The config of the core alone, as plain AAC-LC.
    ///
    /// # Errors
    /// When the core is another kind of AAC.
    pub(super) fn core(&self) -> Result<Vec<u8>, AudioError> {
        if self.object_type != 2 {
            return Err(AudioError::unsupported(object_type_name(self.object_type)));
        }
        let mut bits: u64 = 2;
        let mut count = 5;
        let mut push = |value: u32, width: u32| {
            bits = bits << width | u64::from(value);
            count += width;
        };
        push(self.rate_index, 4);
        if self.rate_index == 15 {
            push(self.rate_hz, 24);
        }
        push(self.channel_config, 4);
        push(0, 3);
        let bytes = (bits << (64 - count)).to_be_bytes();
        Ok(bytes[..count.div_ceil(8) as usize].to_vec())
    }
}

fn object_type_name(object_type: u32) -> String {
    match object_type {
        1 => "AAC Main".to_owned(),
        3 => "AAC SSR".to_owned(),
        4 => "AAC LTP".to_owned(),
        23 => "AAC-LD".to_owned(),
        39 => "AAC-ELD".to_owned(),
        42 => "xHE-AAC (USAC)".to_owned(),
        other => format!("MPEG-4 audio object type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_aac_lc_stays_what_it_is() {
        // AAC-LC, 44.1 kHz (4), stereo.
        let config = AacConfig::read(&[0x12, 0x10]).unwrap();
        assert_eq!((config.object_type, config.high_efficiency), (2, false));
        assert_eq!(config.core().unwrap(), [0x12, 0x10]);
    }

    #[test]
    fn announced_he_aac_is_reduced_to_its_core() {
        // Object type 5, core 22.05 kHz (7), stereo, output 44.1 kHz (4), core type 2.
        let bits: u32 = 5 << 27 | 7 << 23 | 2 << 19 | 4 << 15 | 2 << 10;
        let config = AacConfig::read(&bits.to_be_bytes()).unwrap();
        assert_eq!((config.object_type, config.high_efficiency), (2, true));
        assert_eq!(config.core_rate_hz(), 22_050);
        assert_eq!(config.core().unwrap(), [0x13, 0x90]); // 00010 0111 0010 000
        // The backward-compatible form of the same: AAC-LC config, sync word, SBR.
        let bits: u64 = 2 << 59 | 7 << 55 | 2 << 51 | 0x2b7 << 37 | 5 << 32 | 1 << 31 | 4 << 27;
        let config = AacConfig::read(&bits.to_be_bytes()).unwrap();
        assert!(config.high_efficiency);
        assert_eq!(config.core().unwrap(), [0x13, 0x90]);
    }

    #[test]
    fn other_kinds_are_named_and_short_ones_refused() {
        // Escape 31 + 10 = 42.
        let bits: u32 = 31 << 27 | 10 << 21 | 3 << 17 | 2 << 13;
        let error = AacConfig::read(&bits.to_be_bytes()).unwrap().core().unwrap_err();
        assert_eq!(error.to_string(), "unsupported audio: xHE-AAC (USAC)");
        assert_eq!(AacConfig::read(&[0x12]), None);
    }

    #[test]
    fn a_written_out_rate_survives() {
        let bits: u64 = 5 << 59 | 15 << 55 | 12_345 << 31 | 1 << 27 | 4 << 23 | 2 << 18;
        let core = AacConfig::read(&bits.to_be_bytes()).unwrap().core().unwrap();
        let again = AacConfig::read(&core).unwrap();
        assert_eq!((again.rate_index, again.rate_hz, again.channel_config), (15, 12_345, 1));
    }
}
