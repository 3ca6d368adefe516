//! Who spoke when, and every form it is written in.

pub mod diarization;
pub mod time;
