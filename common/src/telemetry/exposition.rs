//! Values that are read when somebody scrapes, in Prometheus' text format (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::catalogue::{Kind, Metric};

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page being written. Samples of one metric stand together, whatever the order in which they come.
#[derive(Debug, Default)]
pub struct Exposition {
    families: BTreeMap<&'static str, (Metric, Vec<String>)>,
}

impl Exposition {
    /// A counter's or gauge's value; `labels` in the order of the metric's own.
    ///
    /// # Panics
    /// For a histogram, and for another number of labels than the metric has: both are defects of the caller.
    pub fn sample(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        assert!(!matches!(metric.kind, Kind::Histogram(_)), "histograms count as things happen");
        assert_eq!(labels.len(), metric.labels.len(), "as many labels as `{}` has", metric.name);
        let mut line = metric.name.to_owned();
        for (place, (name, text)) in metric.labels.iter().zip(labels).enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            // Writing to memory does not fail.
            let _ = write!(line, "{open}{name}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            line.push('}');
        }
        let _ = write!(line, " {value}");
        self.families.entry(metric.name).or_insert_with(|| (*metric, Vec::new())).1.push(line);
    }

    /// A count.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
    pub fn count(&mut self, metric: &Metric, labels: &[&str], value: u64) {
        self.sample(metric, labels, value as f64);
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        let mut text = String::new();
        for (name, (metric, lines)) in self.families {
            let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
            let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for line in lines {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What the system says of this process: memory, processor time, open files; what it does not say is left out.
pub fn process(page: &mut Exposition) {
    use super::catalogue::{PROCESS_CPU, PROCESS_FILES, PROCESS_MEMORY};
    let read = |path| std::fs::read_to_string(path).ok();
    if let Some(bytes) = read("/proc/self/status").as_deref().and_then(resident_bytes) {
        page.count(&PROCESS_MEMORY, &[], bytes);
    }
    if let Some(seconds) = read("/proc/self/stat").as_deref().and_then(cpu_seconds) {
        page.sample(&PROCESS_CPU, &[], seconds);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        page.count(&PROCESS_FILES, &[], files.count() as u64);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms (`USER_HZ`, 100 on every Linux that Rollcall runs on). The
/// second field, a name in brackets, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<u32>().ok().map(f64::from);
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::{DEAD, JOBS, SETTLED};
    use super::*;

    #[test]
    fn samples_of_one_metric_stand_together_and_are_escaped() {
        let mut page = Exposition::default();
        page.count(&JOBS, &["available", "high"], 3);
        page.sample(&DEAD, &[], 0.5);
        page.count(&JOBS, &["a\"b\\c\nd", "low"], 4);
        page.count(&SETTLED, &["completed"], 7);
        assert_eq!(
            page.finish(),
            "# HELP rollcall_dead_jobs Discarded jobs that are kept.\n\
             # TYPE rollcall_dead_jobs gauge\n\
             rollcall_dead_jobs 0.5\n\
             # HELP rollcall_jobs Jobs that are not final.\n\
             # TYPE rollcall_jobs gauge\n\
             rollcall_jobs{state=\"available\",priority=\"high\"} 3\n\
             rollcall_jobs{state=\"a\\\"b\\\\c\\nd\",priority=\"low\"} 4\n\
             # HELP rollcall_settled_jobs_total Attempts that this worker ended, by the state that the job came into.\n\
             # TYPE rollcall_settled_jobs_total counter\n\
             rollcall_settled_jobs_total{state=\"completed\"} 7\n"
        );
    }

    #[test]
    fn the_system_is_read() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("12 (a"), None);
        let mut page = Exposition::default();
        process(&mut page);
        let text = page.finish();
        for name in ["process_resident_memory_bytes ", "process_cpu_seconds_total ", "process_open_fds "] {
            assert!(text.contains(&format!("\n{name}")), "{text}");
        }
    }
}
