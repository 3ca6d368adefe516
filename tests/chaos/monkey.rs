//! What goes wrong, by a seed: deaths and pauses of workers, the steward, Redis and RabbitMQ.

use std::fmt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::sim::dice::Dice;

use crate::world::World;

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deeds {
    workers_killed: u32,
    workers_paused: u32,
    stewards_killed: u32,
    redis_killed: u32,
    redis_paused: u32,
    rabbit_killed: u32,
    rabbit_paused: u32,
}

impl fmt::Display for Deeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "killed: {} workers, {} stewards, Redis {} times, RabbitMQ {}; paused: {} workers, Redis {} times, RabbitMQ {}",
            self.workers_killed,
            self.stewards_killed,
            self.redis_killed,
            self.rabbit_killed,
            self.workers_paused,
            self.redis_paused,
            self.rabbit_paused
        )
    }
}

/// Does harm.
pub struct Monkey {
    world: World,
    dice: Dice,
    deeds: Deeds,
    /// Paused workers and when they go on.
    asleep: Vec<(usize, Instant)>,
}

impl Monkey {
    pub fn new(world: World, seed: u64) -> Self {
        Self { world, dice: Dice::new(seed), deeds: Deeds::default(), asleep: Vec::new() }
    }

    /// Does harm for a while; then everything lives again.
    pub fn rage(mut self, during: Duration) -> (World, Deeds) {
        let until = Instant::now() + during;
        while Instant::now() < until {
            self.pause(200, 900);
            self.wake(false);
            self.harm();
            // The dead stay so for a while.
            if self.dice.below(2) == 0 {
                self.world.revive();
            }
        }
        self.wake(true);
        self.world.revive();
        (self.world, self.deeds)
    }

    fn pause(&mut self, from_ms: u64, to_ms: u64) {
        std::thread::sleep(Duration::from_millis(from_ms + self.dice.below(to_ms - from_ms)));
    }

    fn wake(&mut self, all: bool) {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) =
            self.asleep.drain(..).partition(|(_, until)| all || *until <= now);
        self.asleep = later;
        for (worker, _) in due {
            self.world.workers[worker].signal(Signal::CONT);
        }
    }

    fn harm(&mut self) {
        let worker = self.dice.below(self.world.workers.len() as u64) as usize;
        match self.dice.below(100) {
            0..40 => {
                self.world.workers[worker].kill();
                self.deeds.workers_killed += 1;
            }
            40..65 => {
                // Leases last 3 s: some pauses are shorter, most are longer.
                self.world.workers[worker].signal(Signal::STOP);
                let until = Instant::now() + Duration::from_millis(1000 + self.dice.below(7000));
                self.asleep.push((worker, until));
                self.deeds.workers_paused += 1;
            }
            65..75 => {
                if let Some(mut steward) = self.world.steward.take() {
                    steward.kill();
                    self.deeds.stewards_killed += 1;
                }
            }
            75..83 => {
                self.world.redis.crash_and_restart().unwrap();
                self.deeds.redis_killed += 1;
            }
            83..89 => {
                self.world.redis.process().signal(Signal::STOP);
                self.pause(200, 4000);
                self.world.redis.process().signal(Signal::CONT);
                self.deeds.redis_paused += 1;
            }
            89..93 => {
                if let Some(rabbit) = &mut self.world.rabbit {
                    rabbit.crash_and_restart().unwrap();
                    self.deeds.rabbit_killed += 1;
                }
            }
            _ => {
                if let Some(rabbit) = &self.world.rabbit {
                    rabbit.process().signal(Signal::STOP);
                    std::thread::sleep(Duration::from_millis(200 + self.dice.below(4000)));
                    rabbit.process().signal(Signal::CONT);
                    self.deeds.rabbit_paused += 1;
                }
            }
        }
    }
}
