//! A page of metrics held to the conventions of Prometheus, in the manner of `promtool check metrics`: every metric has
//! its help and type before its samples, its samples stand together and are different, its name says its unit.

use std::collections::{BTreeMap, BTreeSet};

/// Suffixes of the samples of a histogram.
const HISTOGRAM_PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Parts of names that are units other than Prometheus' base units.
const OTHER_UNITS: [&str; 14] = [
    "ms",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "kilobytes",
    "megabytes",
    "gigabytes",
    "kb",
    "mb",
    "percent",
    "celsius",
];

/// What is wrong with a page, one line each; empty when nothing is.
#[must_use]
pub fn problems(page: &str) -> Vec<String> {
    let mut look = Look::default();
    for line in page.lines().filter(|line| !line.trim().is_empty()) {
        look.line(line);
    }
    look.ended()
}

#[derive(Default)]
struct Look<'a> {
    help: BTreeMap<&'a str, &'a str>,
    kinds: BTreeMap<&'a str, &'a str>,
    /// Metrics whose samples have begun.
    begun: BTreeSet<&'a str>,
    current: Option<&'a str>,
    series: BTreeSet<&'a str>,
    wrong: Vec<String>,
}

impl<'a> Look<'a> {
    fn line(&mut self, line: &'a str) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            if text.trim().is_empty() {
                self.wrong.push(format!("no help text: {name}"));
            }
            self.told(name, "help", |look| look.help.insert(name, text).is_some());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            self.told(name, "type", |look| look.kinds.insert(name, kind).is_some());
        } else if !line.starts_with('#') {
            self.sample(line);
        }
    }

    fn told(&mut self, name: &str, what: &str, insert: impl FnOnce(&mut Self) -> bool) {
        if insert(self) {
            self.wrong.push(format!("{what} told twice: {name}"));
        }
        if self.begun.contains(name) {
            self.wrong.push(format!("{what} after the first sample: {name}"));
        }
    }

    fn sample(&mut self, line: &'a str) {
        // A label may hold anything but ends before the last space; there are no time stamps on these pages.
        let Some((series, value)) = line.rsplit_once(' ') else {
            return self.wrong.push(format!("not a sample: {line}"));
        };
        if value.parse::<f64>().is_err() && !["+Inf", "-Inf", "NaN"].contains(&value) {
            self.wrong.push(format!("not a number: {line}"));
        }
        if !self.series.insert(series) {
            self.wrong.push(format!("told twice: {series}"));
        }
        let name = series.split('{').next().unwrap_or(series);
        let family = self.family(name);
        if self.current != Some(family) && !self.begun.insert(family) {
            self.wrong.push(format!("samples do not stand together: {family}"));
        }
        self.current = Some(family);
    }

    /// The metric that a sample belongs to.
    fn family(&self, name: &'a str) -> &'a str {
        let part_of = |suffix: &&str| {
            let base = name.strip_suffix(*suffix)?;
            matches!(self.kinds.get(base), Some(&("histogram" | "summary"))).then_some(base)
        };
        HISTOGRAM_PARTS.iter().find_map(part_of).unwrap_or(name)
    }

    fn ended(mut self) -> Vec<String> {
        for name in self.begun.clone() {
            if !self.help.contains_key(name) {
                self.wrong.push(format!("no help: {name}"));
            }
            match self.kinds.get(name) {
                None => self.wrong.push(format!("no type: {name}")),
                Some(kind) => self.wrong.extend(name_problem(name, kind)),
            }
        }
        for name in self.kinds.keys().chain(self.help.keys()) {
            if !self.begun.contains(name) {
                self.wrong.push(format!("no sample: {name}"));
            }
        }
        self.wrong
    }
}

fn name_problem(name: &str, kind: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let parts: Vec<_> = name.split('_').collect();
    let unit = parts.iter().find(|part| OTHER_UNITS.contains(part));
    let why = if !name.chars().all(legal) {
        "a name has small letters, digits and `_`".to_owned()
    } else if !name.starts_with("rollcall_") && !name.starts_with("process_") {
        "a name begins with `rollcall_` or `process_`".to_owned()
    } else if let Some(unit) = unit {
        format!("not a base unit: `{unit}`")
    } else if (kind == "counter") != name.ends_with("_total") {
        "counters, and only they, end in `_total`".to_owned()
    } else if parts.iter().any(|part| ["counter", "gauge", "histogram", "summary"].contains(part)) {
        "a name does not say its type".to_owned()
    } else if HISTOGRAM_PARTS.iter().any(|suffix| name.ends_with(suffix)) {
        "`_bucket`, `_sum` and `_count` belong to histograms".to_owned()
    } else if kind == "histogram" && !["_seconds", "_bytes", "_ratio"].iter().any(|u| name.ends_with(u)) {
        "a histogram's name ends in its unit".to_owned()
    } else {
        return None;
    };
    Some(format!("{why}: {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{ALL, Kind};
    use super::super::exposition::Exposition;
    use super::*;

    #[test]
    fn every_name_of_the_catalogue_is_conventional() {
        for metric in ALL {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert_eq!(name_problem(metric.name, kind), None);
        }
        let mut page = Exposition::default();
        for metric in ALL.iter().filter(|metric| !matches!(metric.kind, Kind::Histogram(_))) {
            page.sample(metric, &vec!["a b"; metric.labels.len()], 1.0);
        }
        assert_eq!(problems(&page.finish()), [""; 0]);
    }

    #[test]
    fn each_breach_is_told() {
        let good = "# HELP rollcall_a_seconds x\n# TYPE rollcall_a_seconds histogram\n\
                    rollcall_a_seconds_bucket{le=\"+Inf\"} 1\nrollcall_a_seconds_sum 2\nrollcall_a_seconds_count 1\n";
        assert_eq!(problems(good), [""; 0]);
        let with = |name: &str, kind: &str| format!("# HELP {name} x\n# TYPE {name} {kind}\n{name} 1\n");
        for (page, wrong) in [
            ("rollcall_a 1\n".to_owned(), "no help: rollcall_a"),
            ("# HELP rollcall_a x\nrollcall_a 1\n".to_owned(), "no type: rollcall_a"),
            (with("rollcall_a", "gauge") + &with("rollcall_a", "gauge"), "help told twice: rollcall_a"),
            (with("rollcall_a", "gauge") + "rollcall_a 2\n", "told twice: rollcall_a"),
            (with("rollcall_a", "counter"), "counters, and only they, end in `_total`: rollcall_a"),
            (with("rollcall_a_total", "gauge"), "counters, and only they, end in `_total`: rollcall_a_total"),
            (with("rollcall_a_ms", "gauge"), "not a base unit: `ms`: rollcall_a_ms"),
            (with("a", "gauge"), "a name begins with `rollcall_` or `process_`: a"),
            (with("rollcall_A", "gauge"), "a name has small letters, digits and `_`: rollcall_A"),
            (with("rollcall_a", "gauge").replace(" 1", " one"), "not a number: rollcall_a one"),
            ("# HELP rollcall_a x\n# TYPE rollcall_a gauge\n".to_owned(), "no sample: rollcall_a"),
        ] {
            assert!(problems(&page).iter().any(|told| told == wrong), "{page}: {:?}", problems(&page));
        }
        let apart = with("rollcall_a", "gauge") + &with("rollcall_b", "gauge") + "rollcall_a{x=\"1\"} 2\n";
        assert_eq!(problems(&apart), ["samples do not stand together: rollcall_a"]);
    }
}
