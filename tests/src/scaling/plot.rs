//! The day as a table and as a picture.

use std::fmt::Write as _;

use super::{Outcome, Sample};

/// A line every two minutes: time, then wanted, machines, oldest and audio waiting of each fleet.
#[must_use]
pub fn csv(fleets: &[(&str, &Outcome)]) -> String {
    let mut text = "at_s".to_owned();
    for (name, _) in fleets {
        let _ = write!(text, ",{name}_wanted,{name}_machines,{name}_oldest_s,{name}_waiting_h");
    }
    text.push('\n');
    let samples = fleets.first().map_or(0, |(_, outcome)| outcome.samples.len());
    for place in (0..samples).step_by(4) {
        let _ = write!(text, "{}", fleets[0].1.samples[place].at_s);
        for (_, outcome) in fleets {
            let Sample { wanted, machines, oldest_s, waiting_h, .. } = outcome.samples[place];
            let _ = write!(text, ",{wanted},{machines},{oldest_s},{waiting_h:.1}");
        }
        text.push('\n');
    }
    text
}

const WIDTH: f64 = 1040.0;
const PANEL: f64 = 150.0;
const LEFT: f64 = 70.0;
const COLOURS: [&str; 4] = ["#0b6e4f", "#c1440e", "#3d5a98", "#8a6d3b"];

/// A title, what is drawn, and a bound.
type Panel = (&'static str, fn(&Sample) -> f64, Option<f64>);

/// Three panels over the hours of the day: audio waiting, machines, age of the oldest job with its bound.
#[must_use]
pub fn svg(fleets: &[(&str, &Outcome)], bound_s: u64) -> String {
    let height = 3.0 * (PANEL + 45.0) + 60.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (place, (name, _)) in fleets.iter().enumerate() {
        let x = LEFT + 230.0 * place as f64;
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"12\" width=\"18\" height=\"4\" fill=\"{}\"/><text x=\"{}\" y=\"19\">{name}</text>",
            COLOURS[place % 4],
            x + 24.0
        );
    }
    #[allow(clippy::cast_precision_loss, reason = "pixels")]
    let panels: [Panel; 3] = [
        ("audio waiting, hours", |sample| sample.waiting_h, None),
        ("machines", |sample| sample.machines as f64, None),
        (
            "oldest job, minutes (cut at 60)",
            |sample| (sample.oldest_s as f64 / 60.0).min(60.0),
            Some(bound_s as f64 / 60.0),
        ),
    ];
    for (place, (title, value, bound)) in panels.into_iter().enumerate() {
        panel(&mut text, 50.0 + place as f64 * (PANEL + 45.0), title, value, bound, fleets);
    }
    text.push_str("</svg>\n");
    text
}

fn panel(
    text: &mut String,
    top: f64,
    title: &str,
    value: fn(&Sample) -> f64,
    bound: Option<f64>,
    fleets: &[(&str, &Outcome)],
) {
    let values = || fleets.iter().flat_map(|(_, outcome)| outcome.samples.iter().map(value));
    let most = values().fold(bound.unwrap_or(1.0), f64::max).max(1.0);
    let x = |at_s: f64| LEFT + at_s / 86_400.0 * (WIDTH - LEFT - 20.0);
    let y = |value: f64| top + PANEL - value / most * PANEL;
    let _ = writeln!(text, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 6.0);
    for share in [0.0, 0.5, 1.0] {
        let (level, number) = (y(share * most), share * most);
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {level:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{number:.0}</text>",
            WIDTH - 20.0,
            LEFT - 6.0,
            level + 4.0
        );
    }
    for hour in (0..=24).step_by(3) {
        let place = x(f64::from(hour) * 3600.0);
        let _ = writeln!(
            text,
            "<text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{hour}:00</text>",
            top + PANEL + 16.0
        );
    }
    for (place, (_, outcome)) in fleets.iter().enumerate() {
        let points: Vec<_> = outcome
            .samples
            .iter()
            .step_by(2)
            .map(|sample| format!("{:.1},{:.1}", x(sample.at_s as f64), y(value(sample))))
            .collect();
        let _ = writeln!(
            text,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\" points=\"{}\"/>",
            COLOURS[place % 4],
            points.join(" ")
        );
    }
    if let Some(bound) = bound {
        let level = y(bound);
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {level:.1}H{:.1}\" stroke=\"#b00020\" stroke-dasharray=\"5 4\"/>",
            WIDTH - 20.0
        );
    }
}
