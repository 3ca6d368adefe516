//! Synthetic audio for the tests of this room.

/// A small generator of reproducible noise (xorshift).
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }

    /// Uniform within ±`amplitude`.
    pub(super) fn samples(&mut self, count: usize, amplitude: f32) -> Vec<f32> {
        (0..count).map(|_| amplitude * ((self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0)).collect()
    }
}

/// A sine of `hz` at `rate_hz`.
pub(super) fn sine(hz: f64, rate_hz: u32, count: usize, amplitude: f64) -> Vec<f32> {
    let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
    (0..count).map(|n| (amplitude * (step * n as f64).sin()) as f32).collect()
}

/// How a WAV of the tests is written; each field can be set against the rules.
#[derive(Debug, Clone)]
pub(super) struct Wav {
    pub tag: u16,
    pub channels: u16,
    pub rate_hz: u32,
    pub bits: u16,
    pub data: Vec<u8>,
    pub riff_size: Option<u32>,
    pub data_size: Option<u32>,
    pub before_data: Vec<u8>,
    pub after_data: Vec<u8>,
    pub fmt_extra: Vec<u8>,
}

impl Wav {
    pub(super) fn pcm16(rate_hz: u32, channels: &[Vec<f32>]) -> Self {
        let mut data = Vec::new();
        for n in 0..channels[0].len() {
            for channel in channels {
                data.extend(((channel[n] * 32767.0).round() as i16).to_le_bytes());
            }
        }
        Self::raw(1, channels.len() as u16, rate_hz, 16, data)
    }

    pub(super) fn float32(rate_hz: u32, channels: &[Vec<f32>]) -> Self {
        let mut data = Vec::new();
        for n in 0..channels[0].len() {
            for channel in channels {
                data.extend(channel[n].to_le_bytes());
            }
        }
        Self::raw(3, channels.len() as u16, rate_hz, 32, data)
    }

    pub(super) fn raw(tag: u16, channels: u16, rate_hz: u32, bits: u16, data: Vec<u8>) -> Self {
        Self {
            tag,
            channels,
            rate_hz,
            bits,
            data,
            riff_size: None,
            data_size: None,
            before_data: Vec::new(),
            after_data: Vec::new(),
            fmt_extra: Vec::new(),
        }
    }

    pub(super) fn fmt_chunk(&self) -> Vec<u8> {
        let align = (u32::from(self.channels) * u32::from(self.bits) / 8) as u16;
        let mut fmt = Vec::new();
        fmt.extend(self.tag.to_le_bytes());
        fmt.extend(self.channels.to_le_bytes());
        fmt.extend(self.rate_hz.to_le_bytes());
        fmt.extend(self.rate_hz.wrapping_mul(u32::from(align)).to_le_bytes());
        fmt.extend(align.to_le_bytes());
        fmt.extend(self.bits.to_le_bytes());
        fmt.extend(&self.fmt_extra);
        chunk(b"fmt ", &fmt)
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let mut body = self.fmt_chunk();
        body.extend(&self.before_data);
        body.extend(b"data");
        body.extend(self.data_size.unwrap_or(self.data.len() as u32).to_le_bytes());
        body.extend(&self.data);
        if self.data.len() % 2 == 1 && !self.after_data.is_empty() {
            body.push(0);
        }
        body.extend(&self.after_data);
        let mut file = b"RIFF".to_vec();
        file.extend(self.riff_size.unwrap_or(body.len() as u32 + 4).to_le_bytes());
        file.extend(b"WAVE");
        file.extend(body);
        file
    }
}

/// A RIFF chunk with its padding.
pub(super) fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut chunk = id.to_vec();
    chunk.extend((body.len() as u32).to_le_bytes());
    chunk.extend(body);
    if body.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}
