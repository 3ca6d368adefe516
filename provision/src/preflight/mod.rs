//! `preflight`: whether this machine can be a worker, asked before it becomes one.
//!
//! Every check runs, whatever the others found. Each ends as ok, warning or failure, with what was seen and, unless it is
//! ok, what to do. What only the worker knows (decoders, networks) the worker is asked, as a child process.

pub mod child;
pub mod gpu;
pub mod machine;
pub mod proof;
pub mod services;

use std::path::PathBuf;

use common::home::Home;
use serde::Serialize;

use crate::progress::Progress;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A worker would run, but not well, or not for long.
    Warning,
    /// A worker would not run.
    Failure,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at: a stable word.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen, one line.
    pub found: String,
    /// What to do about it; nothing where it is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// How long a service took to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), fix: None, latency_ms: None }
    }

    /// Not good.
    #[must_use]
    pub fn warning(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, fix: Some(fix.into()), ..Self::ok(name, found) }
    }

    /// No worker runs like this.
    #[must_use]
    pub fn failure(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failure, fix: Some(fix.into()), ..Self::ok(name, found) }
    }

    /// The same with the time that a service took.
    #[must_use]
    pub fn after(mut self, latency_ms: f64) -> Self {
        self.latency_ms = Some((latency_ms * 100.0).round() / 100.0);
        self
    }
}

/// The device that a worker is to use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A GPU if there is one.
    Auto,
    /// No GPU.
    Cpu,
    /// A GPU, and it is wrong if there is none.
    Cuda {
        /// Which.
        number: u32,
    },
}

impl Device {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda { number: 0 }),
            _ => Some(Self::Cuda { number: text.strip_prefix("cuda:")?.parse().ok()? }),
        }
    }
}

/// What is checked.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Where bundles and libraries lie.
    pub home: &'a Home,
    /// The device to be used.
    pub device: Device,
    /// The bundle to be used: a name in the home folder, with or without a version, or a folder.
    pub bundle: &'a str,
    /// The program that is to run here.
    pub worker: Option<PathBuf>,
    /// Redis.
    pub redis_url: Option<&'a str>,
    /// The queue.
    pub queue_url: Option<&'a str>,
    /// The store.
    pub store_url: Option<&'a str>,
}

/// Runs every check.
#[must_use]
pub fn run(plan: &Plan<'_>, progress: &dyn Progress) -> Vec<Check> {
    progress.step("looking at the machine");
    let mut checks = machine::checks(plan.home);
    let gpu::Found { checks: of_gpu, gpu } = gpu::look(plan.device);
    checks.extend(of_gpu);
    progress.step("asking the services");
    checks.extend(services::checks(plan));
    checks.extend(proof::checks(plan, gpu, progress));
    checks
}

/// The worst of them.
#[must_use]
pub fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        assert_eq!(Device::parse("auto"), Some(Device::Auto));
        assert_eq!(Device::parse("cuda:3"), Some(Device::Cuda { number: 3 }));
        for text in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert_eq!(Device::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_worst_counts_and_only_what_is_known_is_shown() {
        let checks = [Check::ok("a", "fine"), Check::warning("b", "so so", "mend it").after(1.234)];
        assert_eq!(worst(&checks), Verdict::Warning);
        assert_eq!(worst(&[]), Verdict::Ok);
        assert_eq!(
            serde_json::to_string(&checks).unwrap(),
            r#"[{"name":"a","verdict":"ok","found":"fine"},{"name":"b","verdict":"warning","found":"so so","fix":"mend it","latency_ms":1.23}]"#
        );
    }
}
