//! A trouble that lasts is logged once when it begins and once when it ends, not with every try.

use std::error::Error;
use std::fmt::Write as _;

/// The state of one activity.
#[derive(Debug)]
pub struct Troubles {
    what: String,
    told: Option<String>,
}

impl Troubles {
    /// No trouble so far with `what`.
    #[must_use]
    pub fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), told: None }
    }

    /// How the activity went this time.
    pub fn outcome(&mut self, error: Option<&(impl Error + 'static)>) {
        let what = self.what.as_str();
        match error.map(|error| chain(error)) {
            Some(text) if self.told.as_ref() != Some(&text) => {
                tracing::warn!(what, error = %text, "trouble");
                self.told = Some(text);
            }
            None if self.told.take().is_some() => tracing::info!(what, "trouble is over"),
            _ => {}
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to memory does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
