//! Lengths of time as people read them.

use std::time::Duration;

/// At most six characters: `0.4 s`, `59 s`, `12 min`, `3.5 h`, `2 d`.
#[must_use]
pub fn short(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..99.5 => format!("{seconds:.0} s"),
        ..5970.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_stay_short() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (9.94, "9.9 s"),
            (12.4, "12 s"),
            (100.0, "2 min"),
            (5940.0, "99 min"),
            (6000.0, "1.7 h"),
            (172_800.0, "2 d"),
        ] {
            assert_eq!(short(Duration::from_secs_f64(seconds)), text);
        }
    }
}
