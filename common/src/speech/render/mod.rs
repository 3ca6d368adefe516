//! Every form in which a result is written. All of them read the [result document], so that what the dispatcher writes
//! from a stored result is byte-equal to what the worker wrote.
//!
//! [result document]: super::result_document

pub mod html;
pub mod json;
pub mod npy;
pub mod printable;
pub mod rttm;
pub mod subtitles;
pub mod table;
pub mod text;

#[cfg(test)]
pub(super) mod example;
