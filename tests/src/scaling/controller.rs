//! Who says how many workers there should be.

use std::collections::VecDeque;

use common::port::job_store::QueueStatus;
use common::scaling::ScalingRules;

use super::{LOOK_S, WORKERS_MAX};

/// A rule.
#[derive(Debug, Clone)]
enum Rule {
    /// Ours: keeps nothing between two looks.
    Policy(ScalingRules),
    /// Always as many.
    Fixed(u64),
    /// By the number of messages, as KEDA scales on a queue's length: so many a worker.
    Messages(u64),
}

/// A rule behind an autoscaler, which lets go of machines only when five minutes have asked for no more: the stabilisation of
/// the Horizontal Pod Autoscaler, with its default.
#[derive(Debug, Clone)]
pub struct Controller {
    rule: Rule,
    asked: VecDeque<u64>,
}

impl Controller {
    fn by(rule: Rule) -> Self {
        Self { rule, asked: VecDeque::new() }
    }

    /// Ours, with its defaults.
    #[must_use]
    pub fn policy() -> Self {
        Self::by(Rule::Policy(ScalingRules { workers_max: WORKERS_MAX, ..ScalingRules::default() }))
    }

    /// Always as many.
    #[must_use]
    pub fn fixed(workers: u64) -> Self {
        Self::by(Rule::Fixed(workers))
    }

    /// By messages, so many a worker.
    #[must_use]
    pub fn messages(each: u64) -> Self {
        Self::by(Rule::Messages(each))
    }

    /// Workers for this queue.
    pub fn wanted(&mut self, status: &QueueStatus) -> u64 {
        let wanted = match self.rule {
            Rule::Policy(rules) => rules.wanted(status),
            Rule::Fixed(workers) => workers,
            Rule::Messages(each) => {
                status.ready().div_ceil(each).max(u64::from(status.running() > 0)).min(WORKERS_MAX)
            }
        };
        self.asked.push_back(wanted);
        if self.asked.len() as u64 > 300 / LOOK_S {
            self.asked.pop_front();
        }
        self.asked.iter().copied().max().unwrap_or(0)
    }
}
