//! The noise of a channel: what foreign frames are brought down to.

use std::collections::VecDeque;

/// How long the noise of a channel is remembered, seconds.
const NOISE_MEMORY_S: usize = 30;

/// The quietest that a channel has been lately.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Noise {
    /// Lowest mean of each second, the last of which is not over.
    lows: VecDeque<f32>,
    frames: usize,
}

impl Noise {
    pub fn new() -> Self {
        Self { lows: VecDeque::new(), frames: 0 }
    }

    /// Hears the mean power around a frame; gives the lowest of the last [`NOISE_MEMORY_S`].
    pub fn hear(&mut self, level: f32, frames_a_second: usize) -> f32 {
        if self.frames.is_multiple_of(frames_a_second) {
            self.lows.push_back(f32::INFINITY);
            if self.lows.len() > NOISE_MEMORY_S {
                self.lows.pop_front();
            }
        }
        self.frames += 1;
        if let Some(low) = self.lows.back_mut() {
            *low = low.min(level);
        }
        self.low()
    }

    /// The lowest of the last [`NOISE_MEMORY_S`]; infinite before anything was heard.
    pub fn low(&self) -> f32 {
        self.lows.iter().copied().fold(f32::INFINITY, f32::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_forgotten_after_its_time() {
        let mut noise = Noise::new();
        noise.hear(0.1, 1);
        for _ in 1..NOISE_MEMORY_S {
            assert_eq!(noise.hear(0.5, 1), 0.1);
        }
        assert_eq!(noise.hear(0.5, 1), 0.5);
    }
}
