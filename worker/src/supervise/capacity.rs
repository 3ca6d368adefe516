//! How much audio this worker does per second when it has its hands full: what scaling divides by.
//!
//! A worker is seldom full, so the time that counts is not the time in which there was work. It is what the same work would
//! take at least in a full worker: by how much of the time its engines computed, and by how many of its seats were taken,
//! whichever is more. With every seat taken that is the time itself. One recording alone on a GPU that takes eight at a time
//! counts for little more than an eighth of its time; on a CPU, whose engines it keeps busy, for all of it.

use std::time::Duration;

use common::clock::Monotonic;

/// Time after which what was measured counts for 1/e: a few minutes of work say it well, and a change of what comes in
/// shows within half an hour.
const OVER_S: f64 = 600.0;
/// Time below which nothing is said.
const ENOUGH_S: f64 = 1.0;

/// Audio done against the time that it takes.
#[derive(Debug, Clone)]
pub struct Capacity {
    seats: usize,
    working: usize,
    /// Since when time counts, while jobs are at work.
    since: Monotonic,
    /// Time, weighted by the seats taken, that no recording has answered for yet, seconds.
    seated_s: f64,
    /// What an engine had computed when a recording last answered for it.
    computed: Option<Duration>,
    audio_s: f64,
    taken_s: f64,
}

impl Capacity {
    /// Of a worker that holds so many jobs at once.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self {
            seats: seats.max(1),
            working: 0,
            since: Monotonic::default(),
            seated_s: 0.0,
            computed: None,
            audio_s: 0.0,
            taken_s: 0.0,
        }
    }

    /// A job begins; `computed` is how long an engine has computed so far, on average over them, where there are any.
    pub fn begin(&mut self, computed: Option<Duration>, now: Monotonic) {
        self.spend(now);
        self.working += 1;
        self.computed = self.computed.or(computed);
    }

    /// A job is over; `audio` is the length of the recording it completed, else zero. Time spent on what failed is left to
    /// what completes next, since it is spent as well.
    pub fn end(&mut self, audio: Duration, computed: Option<Duration>, now: Monotonic) {
        self.spend(now);
        self.working = self.working.saturating_sub(1);
        if audio.is_zero() {
            return;
        }
        let computed_s = computed
            .zip(self.computed)
            .map_or(0.0, |(computed, before)| computed.saturating_sub(before).as_secs_f64());
        self.computed = computed;
        let taken_s = std::mem::take(&mut self.seated_s).max(computed_s);
        let keep = (-taken_s / OVER_S).exp();
        self.taken_s = self.taken_s * keep + taken_s;
        self.audio_s = self.audio_s * keep + audio.as_secs_f64();
    }

    /// Seconds of audio per second of a full worker; `None` while too little is known.
    #[must_use]
    pub fn audio_s_per_s(&self) -> Option<f64> {
        (self.taken_s >= ENOUGH_S).then(|| self.audio_s / self.taken_s)
    }

    fn spend(&mut self, now: Monotonic) {
        #[allow(clippy::cast_precision_loss, reason = "a few seats")]
        let share = self.working.min(self.seats) as f64 / self.seats as f64;
        self.seated_s += now.since(self.since).as_secs_f64() * share;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_millis(seconds * 1000)
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn idle_time_does_not_count_and_jobs_beside_each_other_share_theirs() {
        let mut capacity = Capacity::new(1);
        assert_eq!(capacity.audio_s_per_s(), None);
        capacity.begin(None, at(100));
        capacity.end(s(200), None, at(110));
        assert_eq!(capacity.audio_s_per_s(), Some(20.0));
        let mut capacity = Capacity::new(2);
        capacity.begin(None, at(5000));
        capacity.begin(None, at(5000));
        capacity.end(s(200), None, at(5010));
        capacity.end(s(200), None, at(5010));
        let measured = capacity.audio_s_per_s().unwrap();
        assert!((39.0..=40.0).contains(&measured), "{measured}");
    }

    /// Eight seats over a card of which one job uses a tenth: with one job or with eight, it is the same card.
    #[test]
    fn a_worker_with_one_job_of_eight_can_do_more() {
        let mut alone = Capacity::new(8);
        let mut full = Capacity::new(8);
        for round in 0..20 {
            let (from, until) = (at(1000 + round * 10), at(1010 + round * 10));
            alone.begin(Some(s(50 + round)), from);
            alone.end(s(800), Some(s(51 + round)), until);
            (0..8).for_each(|_| full.begin(Some(s(50 + 8 * round)), from));
            (0..8).for_each(|_| full.end(s(800), Some(s(58 + 8 * round)), until));
        }
        let (alone, full) = (alone.audio_s_per_s().unwrap(), full.audio_s_per_s().unwrap());
        assert!((alone - 640.0).abs() < 1.0 && (full - 640.0).abs() < 10.0, "{alone} {full}");
    }

    /// Engines that are busy all the time cannot do more, however many seats are empty.
    #[test]
    fn busy_engines_are_a_full_worker() {
        let mut capacity = Capacity::new(4);
        capacity.begin(Some(s(7)), at(100));
        capacity.end(s(200), Some(s(17)), at(110));
        assert_eq!(capacity.audio_s_per_s(), Some(20.0));
    }

    #[test]
    fn failures_cost_their_time_and_the_past_fades() {
        let mut capacity = Capacity::new(1);
        capacity.begin(None, at(0));
        capacity.end(Duration::ZERO, None, at(10));
        capacity.begin(None, at(20));
        capacity.end(s(100), None, at(30));
        assert_eq!(capacity.audio_s_per_s(), Some(5.0));
        for job in 0..100 {
            capacity.begin(None, at(100 + job * 60));
            capacity.end(s(6000), None, at(160 + job * 60));
        }
        let measured = capacity.audio_s_per_s().unwrap();
        assert!((99.0..=100.0).contains(&measured), "{measured}");
    }
}
