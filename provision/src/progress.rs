//! Saying what is being done.

/// Takes one line for each step, as it begins.
pub trait Progress {
    /// A step begins: lower case, present participle, no period.
    fn step(&self, text: &str);

    /// So many of the bytes that the last step moves have moved.
    fn moved(&self, _bytes: u64, _of: u64) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _text: &str) {}
}
