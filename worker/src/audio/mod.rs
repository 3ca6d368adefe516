//! Any common audio in, a stream of mono 16 kHz blocks out.
//!
//! The trip of a file: [`source`] (bytes, bounded) → [`sniff`] (what the content is; names decide nothing) → [`demux`]
//! (packets) → [`decode`] (samples at the source rate) → [`track`] and [`timeline`] (gapless trimming, gaps and damage as
//! silence, so that times hold) → [`level`] and [`downmix`] (finite values, one channel) → [`resample`] (16 kHz) → [`stream`]
//! (blocks of one second). Nothing in it grows with the length of the audio, and everything is decided from what has
//! been heard so far, so that a 24-hour file needs what a 10-second file needs.
//!
//! Invariants: every sample that comes out is finite and within ±1; output sample `n` is the sound of second
//! `n / 16000`; the same bytes give the same samples on one machine; a decoder that panics costs a packet, not the
//! process, and prints nothing.

mod aac;
mod decode;
mod demux;
mod downmix;
mod error;
mod guard;
mod level;
mod limits;
mod mp4_edits;
mod opus;
mod pcm;
mod resample;
mod sniff;
mod source;
mod stream;
mod summary;
mod timeline;
mod track;
mod wave;

pub use error::AudioError;
pub use limits::{AudioLimits, ChannelMode};
pub use stream::{AudioInfo, AudioStream, BLOCK_SAMPLES, SAMPLE_RATE_HZ};
pub use summary::{AudioSummary, AudioWarning, Span};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
