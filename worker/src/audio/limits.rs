//! What is refused before work starts.

/// Bounds on one audio file. The defaults are the contract's (section 9).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AudioLimits {
    /// Longest audio, seconds.
    pub duration_s_max: f64,
    /// Largest file, bytes.
    pub bytes_max: u64,
    /// Most channels.
    pub channels_max: u16,
    /// Lowest sample rate, hertz. Below it there is no speech band left.
    pub sample_rate_hz_min: u32,
    /// Highest sample rate, hertz: twice the highest that recorders offer.
    pub sample_rate_hz_max: u32,
    /// Largest share of the time that may be damaged before the whole file counts as corrupt.
    pub damaged_share_max: f64,
}

impl Default for AudioLimits {
    fn default() -> Self {
        Self {
            duration_s_max: 24.0 * 3600.0,
            bytes_max: 8 << 30,
            channels_max: 8,
            sample_rate_hz_min: 2_000,
            sample_rate_hz_max: 768_000,
            damaged_share_max: 0.5,
        }
    }
}

/// What becomes of several channels (`--channels`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelMode {
    /// One output: the channels summed so that none is lost (see `downmix`).
    #[default]
    Mix,
    /// One output a channel, for calls with their people on separate channels.
    Separate,
}
