//! The mathematics of diarization: pure, synchronous, deterministic.
