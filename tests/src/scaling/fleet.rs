//! The fleet of the day: machines that take a while to start, one recording each at a time, drained when they go.

use std::collections::VecDeque;
use std::time::Duration;

use common::clock::{Monotonic, Timestamp};
use common::port::job_store::QueueStatus;
use common::scaling::{Arrivals, CAPACITY_WEIGHT, Load, MEAN_WEIGHT, moved};
use worker::supervise::capacity::Capacity;

use super::{Arrival, CAPACITY, Controller, LOOK_S, OVERHEAD_S, START_S, STEP_S, archives_s};

/// One look at the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// When, seconds.
    pub at_s: u64,
    /// Workers asked for.
    pub wanted: u64,
    /// Machines that are paid for.
    pub machines: u64,
    /// Age of the oldest waiting job, seconds.
    pub oldest_s: u64,
    /// Audio waiting, hours.
    pub waiting_h: f64,
}

/// How the day went.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Looks, every [`LOOK_S`].
    pub samples: Vec<Sample>,
    /// How long jobs waited, seconds, sorted.
    pub waits_s: Vec<u64>,
    /// Hours of machines.
    pub machine_hours: f64,
    /// Times that the number asked for changed.
    pub changes: usize,
    /// Times that more than one worker was let go and more than one asked for again within ten minutes, though no archive had
    /// come in between: flapping.
    pub flaps: usize,
    /// Jobs that were never begun.
    pub left: usize,
}

impl Outcome {
    /// A wait that this share of the jobs did not exceed, seconds.
    #[must_use]
    pub fn wait_s(&self, share: f64) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let place = (share * (self.waits_s.len().max(1) - 1) as f64).round() as usize;
        self.waits_s.get(place).copied().unwrap_or(0)
    }
}

/// What is known of a recording's length before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// All of it.
    Known,
    /// What its size suggests.
    Guessed,
    /// Nothing.
    Unknown,
}

/// From one heartbeat of a worker to the next, seconds.
const HEARTBEAT_S: u64 = 3;
/// Within which time a fleet that shrank and grew again has flapped, seconds.
const FLAP_S: u64 = 600;

#[derive(Debug, Clone)]
struct Machine {
    /// When it can take its first job.
    ready_s: u64,
    /// When its job ends, and that job.
    job: Option<(f64, Arrival)>,
    draining: bool,
    /// What it measures of itself, as a worker does.
    capacity: Capacity,
}

struct World {
    now_s: u64,
    waiting: VecDeque<Arrival>,
    machines: Vec<Machine>,
    arrivals: Arrivals,
    /// End and length of what was completed of late.
    done: VecDeque<(u64, f64)>,
    capacity: f64,
    mean_s: Option<f64>,
    lengths: Lengths,
}

/// Runs a day.
#[must_use]
pub fn run(day: &[Arrival], controller: &mut Controller, lengths: Lengths) -> Outcome {
    let mut world = World {
        now_s: 0,
        waiting: VecDeque::new(),
        machines: Vec::new(),
        arrivals: Arrivals::default(),
        done: VecDeque::new(),
        capacity: 0.0,
        mean_s: None,
        lengths,
    };
    let mut outcome = Outcome::default();
    let mut coming = day.iter().copied().peekable();
    while world.now_s < 86_400 {
        while let Some(arrival) = coming.next_if(|arrival| arrival.at_s <= world.now_s) {
            world.arrive(arrival);
        }
        world.work(&mut outcome.waits_s);
        if world.now_s.is_multiple_of(LOOK_S) {
            let status = world.status();
            let wanted = controller.wanted(&status);
            world.scale(wanted);
            outcome.samples.push(Sample {
                at_s: world.now_s,
                wanted,
                machines: world.machines.len() as u64,
                oldest_s: status.oldest.unwrap_or_default().as_secs(),
                waiting_h: world.waiting.iter().map(|job| job.audio_s).sum::<f64>() / 3600.0,
            });
        }
        #[allow(clippy::cast_precision_loss, reason = "a few machines")]
        let paid = world.machines.len() as f64 * STEP_S as f64 / 3600.0;
        outcome.machine_hours += paid;
        world.now_s += STEP_S;
    }
    outcome.waits_s.sort_unstable();
    outcome.left = world.waiting.len();
    (outcome.changes, outcome.flaps) = unrest(&outcome.samples);
    outcome
}

impl Lengths {
    fn of(self, job: &Arrival) -> Option<f64> {
        match self {
            Self::Known => Some(job.audio_s),
            Self::Guessed => Some(job.guess_s),
            Self::Unknown => None,
        }
    }
}

impl World {
    fn arrive(&mut self, arrival: Arrival) {
        let length = self.lengths.of(&arrival).map(Duration::from_secs_f64);
        self.arrivals.arrived(length, Timestamp::from_millis(self.now_s * 1000));
        self.waiting.push_back(arrival);
    }

    fn work(&mut self, waits_s: &mut Vec<u64>) {
        #[allow(clippy::cast_precision_loss, reason = "seconds of a day")]
        let (now, next) = (self.now_s as f64, (self.now_s + STEP_S) as f64);
        for machine in &mut self.machines {
            let mut free_at = now;
            loop {
                if let Some((ends, Arrival { audio_s, .. })) = machine.job {
                    if ends > next {
                        break;
                    }
                    machine.job = None;
                    self.done.push_back((self.now_s, audio_s));
                    machine.capacity.end(Duration::from_secs_f64(audio_s), None, monotonic(ends));
                    self.mean_s = Some(moved(self.mean_s, audio_s, MEAN_WEIGHT));
                    free_at = ends;
                }
                if machine.draining || machine.ready_s > self.now_s {
                    break;
                }
                let Some(job) = self.waiting.pop_front() else { break };
                waits_s.push(self.now_s - job.at_s);
                machine.capacity.begin(None, monotonic(free_at));
                machine.job = Some((free_at + job.audio_s / CAPACITY + OVERHEAD_S, job));
            }
        }
        for measured in self.machines.iter().filter_map(|machine| machine.capacity.audio_s_per_s()) {
            for _ in 0..STEP_S / HEARTBEAT_S {
                let known = Some(self.capacity).filter(|known| *known > 0.0);
                self.capacity = moved(known, measured, CAPACITY_WEIGHT);
            }
        }
        self.machines.retain(|machine| !machine.draining || machine.job.is_some());
        while self.done.front().is_some_and(|(at, _)| at + 60 <= self.now_s) {
            self.done.pop_front();
        }
    }

    /// The youngest go first; one that works finishes what it holds.
    fn scale(&mut self, wanted: u64) {
        let mut staying = self.machines.iter().filter(|machine| !machine.draining).count() as u64;
        while staying < wanted {
            let ready_s = self.now_s + START_S;
            self.machines.push(Machine { ready_s, job: None, draining: false, capacity: Capacity::new(1) });
            staying += 1;
        }
        for machine in self.machines.iter_mut().rev().filter(|machine| !machine.draining) {
            if staying <= wanted {
                break;
            }
            machine.draining = true;
            staying -= 1;
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of a day")]
    fn status(&self) -> QueueStatus {
        let working: Vec<Arrival> = self.machines.iter().filter_map(|machine| Some(machine.job?.1)).collect();
        let alive = |machine: &&Machine| machine.ready_s <= self.now_s && !machine.draining;
        let mut status = QueueStatus {
            completed_per_s: self.done.len() as f64 / 60.0,
            audio_s_per_s: self.done.iter().map(|(_, audio)| audio).sum::<f64>() / 60.0,
            oldest: self.waiting.front().map(|job| Duration::from_secs(self.now_s - job.at_s)),
            workers_alive: self.machines.iter().filter(alive).count() as u64,
            ..QueueStatus::default()
        };
        (status.depth[1].ready, status.depth[1].running) = (self.waiting.len() as u64, working.len() as u64);
        status.load = Load {
            arriving: self.arrivals.at(Timestamp::from_millis(self.now_s * 1000)),
            capacity: self.capacity,
            mean_audio: self.mean_s.map(Duration::from_secs_f64),
            ..Load::default()
        };
        if self.lengths != Lengths::Unknown {
            let sum = |jobs: &mut dyn Iterator<Item = &Arrival>| {
                Duration::from_secs_f64(jobs.filter_map(|job| self.lengths.of(job)).sum())
            };
            status.load.ready_audio = sum(&mut self.waiting.iter());
            status.load.running_audio = sum(&mut working.iter());
            (status.load.ready_timed, status.load.running_timed) = (status.ready(), status.running());
            status.load.waiting_timed = status.ready();
        }
        status
    }
}

fn monotonic(s: f64) -> Monotonic {
    Monotonic::from_millis(u64::try_from(Duration::from_secs_f64(s).as_millis()).unwrap_or(u64::MAX))
}

/// How often the number asked for changed; and how often it fell by more than one, in one step or several, and rose by more
/// than one again within [`FLAP_S`] of its lowest.
fn unrest(samples: &[Sample]) -> (usize, usize) {
    let changes = samples.windows(2).filter(|pair| pair[0].wanted != pair[1].wanted).count();
    let mut flaps = 0;
    // The highest since the last flap or rise, and the lowest since that, with its time.
    let (mut high, mut low) = (0, None::<(u64, u64)>);
    for Sample { at_s, wanted, .. } in samples.iter().copied() {
        match low {
            Some((low_s, lowest)) if wanted > lowest + 1 => {
                let came = archives_s().iter().any(|archive_s| (low_s..=at_s).contains(archive_s));
                flaps += usize::from(at_s - low_s < FLAP_S && !came);
                (high, low) = (wanted, None);
            }
            Some((_, lowest)) if wanted <= lowest => low = Some((at_s, wanted)),
            Some(_) => {}
            None if wanted + 1 < high => low = Some((at_s, wanted)),
            None => high = high.max(wanted),
        }
    }
    (changes, flaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_in_steps_is_a_fall() {
        let flaps = |wanted: &[u64], every_s: u64| {
            let samples: Vec<Sample> = (0..)
                .zip(wanted)
                .map(|(n, wanted)| Sample { at_s: n * every_s, wanted: *wanted, ..Sample::default() })
                .collect();
            unrest(&samples).1
        };
        assert_eq!(flaps(&[5, 3, 5], 30), 1);
        assert_eq!(flaps(&[5, 4, 3, 4, 5], 30), 1);
        assert_eq!(flaps(&[5, 4, 5, 4, 5], 30), 0, "one more or less is none");
        assert_eq!(flaps(&[5, 3, 5, 3, 5], 30), 2);
        assert_eq!(flaps(&[5, 3, 5], 700), 0, "after a while it is another load");
        assert_eq!(flaps(&[1, 2, 3, 9], 30), 0);
    }
}
