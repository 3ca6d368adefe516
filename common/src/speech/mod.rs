//! Who spoke when, and every form it is written in.

pub mod annotation;
pub mod assignment;
pub mod der;
pub mod diarization;
pub mod render;
pub mod result_document;
pub mod rttm;
pub mod time;
pub mod transcript;
pub mod voice;
