//! The mathematics of diarization: pure, synchronous, deterministic.
//!
//! Nothing here knows a file, a device or a clock. Two runs over the same numbers give the same bits, whatever the
//! batch sizes and thread counts were that produced them.

pub mod channels;
pub mod cluster;
pub mod crosstalk;
pub mod fbank;
pub mod geometry;
pub mod local_embeddings;
pub mod masks;
pub mod monologue;
pub mod observations;
pub mod pipeline;
pub mod powerset;
pub mod reconstruct;
pub mod sliding;
pub mod speaker_count;
pub mod speaker_limits;
pub mod tape;
pub mod voices;
pub mod votes;
pub mod windows;
