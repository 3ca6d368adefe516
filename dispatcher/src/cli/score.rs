//! `rollcall score`.

use std::path::PathBuf;

use clap::Args;

use crate::command::score;

/// What stands below the help.
pub const RULES: &str = "\
DER is (missed + false alarm + confusion) / reference speech, overlapped speech scored, under the best one-to-one \
mapping of speakers. JER is the mean over reference speakers of one minus the Jaccard index.\n\n\
Without --uem the scored region of a recording reaches from its first to its last turn in either file. Recordings are \
matched by the file id of their lines; when each file has one recording, they are compared whatever their ids.";

/// Flags of `rollcall score`.
#[derive(Debug, Args)]
pub struct ScoreArguments {
    /// RTTM file with the true turns
    #[arg(long, value_name = "R.rttm")]
    pub reference: PathBuf,
    /// RTTM file with the turns to be scored
    #[arg(long, value_name = "H.rttm")]
    pub hypothesis: PathBuf,
    /// Seconds left out on each side of every reference boundary
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = collar, allow_negative_numbers = true)]
    pub collar: f64,
    /// UEM file with the regions to score
    #[arg(long, value_name = "U.uem")]
    pub uem: Option<PathBuf>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    pub json: bool,
}

impl From<ScoreArguments> for score::Settings {
    fn from(arguments: ScoreArguments) -> Self {
        let ScoreArguments { reference, hypothesis, collar, uem, json: _ } = arguments;
        Self { reference, hypothesis, regions: uem, collar_s: collar }
    }
}

/// Longest collar, seconds; field practice is 0 or 0.25.
const COLLAR_S_MAX: f64 = 60.0;

fn collar(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=COLLAR_S_MAX).contains(&value) => Ok(value),
        _ => Err(format!("a collar is a number of seconds from 0 to {COLLAR_S_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collars_are_bounded() {
        assert_eq!(collar("0.25"), Ok(0.25));
        assert_eq!(collar("60"), Ok(60.0));
        for text in ["-0.1", "60.1", "nan", "inf", "x", ""] {
            assert!(collar(text).is_err(), "{text}");
        }
    }
}
