//! Who says how many workers there should be.

use std::collections::VecDeque;

use common::port::job_store::QueueStatus;
use common::scaling::ScalingRules;

use super::{LOOK_S, WORKERS_MAX};

/// A rule.
#[derive(Debug, Clone)]
pub enum Controller {
    /// Ours: keeps nothing between two looks.
    Policy(ScalingRules),
    /// Always as many.
    Fixed(u64),
    /// By the number of messages, as KEDA scales on a queue's length: so many a worker, and down again only when five
    /// minutes have asked for no more (the stabilisation of the Horizontal Pod Autoscaler).
    Messages {
        /// Messages a worker.
        each: u64,
        /// What was asked for of late.
        asked: VecDeque<u64>,
    },
}

impl Controller {
    /// Ours, with its defaults.
    #[must_use]
    pub fn policy() -> Self {
        Self::Policy(ScalingRules { workers_max: WORKERS_MAX, ..ScalingRules::default() })
    }

    /// By messages.
    #[must_use]
    pub fn messages(each: u64) -> Self {
        Self::Messages { each, asked: VecDeque::new() }
    }

    /// Workers for this queue.
    pub fn wanted(&mut self, status: &QueueStatus) -> u64 {
        match self {
            Self::Policy(rules) => rules.wanted(status),
            Self::Fixed(workers) => *workers,
            Self::Messages { each, asked } => {
                let busy = u64::from(status.running() > 0);
                asked.push_back(status.ready().div_ceil(*each).max(busy).min(WORKERS_MAX));
                if asked.len() as u64 > 300 / LOOK_S {
                    asked.pop_front();
                }
                asked.iter().copied().max().unwrap_or(0)
            }
        }
    }
}
