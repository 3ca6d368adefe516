//! Saying what is being done.

/// Takes one line for each step, as it begins.
pub trait Progress {
    /// A step begins: lower case, present participle, no period.
    fn step(&self, text: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _text: &str) {}
}
