//! Lengths of time as people write them: `90`, `90s`, `10m`, `2h`, `1.5d`.

use std::time::Duration;

/// Longest length that is read: ten years. What a job takes is bounded where it is used.
const SECONDS_MAX: f64 = 10.0 * 366.0 * 86_400.0;

/// Reads a number with a unit of `ms`, `s`, `m`, `h` or `d`; without one it counts seconds.
///
/// # Errors
/// What is expected, and what was found.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("a length of time is a number with `s`, `m`, `h` or `d`, as in `10m`: `{text}`");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if (0.0..=SECONDS_MAX).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_read() {
        for (text, ms) in [
            ("90", 90_000),
            ("250ms", 250),
            ("0s", 0),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1.5d", 129_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "m", "-1s", "1 h", "1w", "nan", "inf", "1e300", "10m5s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
