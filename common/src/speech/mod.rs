//! Who spoke when, and every form it is written in.

pub mod assignment;
pub mod diarization;
pub mod render;
pub mod result_document;
pub mod time;
