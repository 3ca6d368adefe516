//! What a consumer holds between the server's push and the caller's `next`: at most one delivery per lane.
//!
//! A server that pushes one delivery at a time needs a moment before the next of a lane comes. During this moment a lower
//! lane waits, or every lane would be served in turn: a lane is *expected* for [`EXPECT`] after it was subscribed to, taken
//! from or settled. A lane that stays silent for that long is empty, and costs nothing from then on.
//!
//! Pure: the time is an argument. Generic over the delivery, so that every pushing adapter decides alike.

use std::time::{Duration, Instant};

use crate::job::lane::Lane;

/// How long a lower lane waits for a higher one. An ack and the next push take 1 to 5 ms on a busy machine.
pub const EXPECT: Duration = Duration::from_millis(10);

/// What there is to take.
#[derive(Debug, PartialEq, Eq)]
pub enum Highest<D> {
    /// The delivery of the highest lane that has one.
    Take(Lane, D),
    /// A lower lane has one, and a higher lane is expected until then.
    Wait(Instant),
    /// No lane has one.
    Nothing,
}

/// One delivery per lane at most, each with the time of its arrival.
#[derive(Debug)]
pub struct Held<D> {
    lanes: [Option<(Instant, D)>; Lane::ALL.len()],
    /// Until when a push of the lane is expected.
    expected: [Option<Instant>; Lane::ALL.len()],
}

impl<D> Default for Held<D> {
    fn default() -> Self {
        Self { lanes: [const { None }; Lane::ALL.len()], expected: [None; Lane::ALL.len()] }
    }
}

impl<D> Held<D> {
    /// Keeps a delivery; gives back the one that its lane already had (a server that ignores the prefetch of 1).
    pub fn put(&mut self, lane: Lane, now: Instant, delivery: D) -> Option<D> {
        self.lanes[lane.index()].replace((now, delivery)).map(|(_, earlier)| earlier)
    }

    /// A push of this lane may come within [`EXPECT`].
    pub fn expect(&mut self, lane: Lane, now: Instant) {
        self.expected[lane.index()] = Some(now + EXPECT);
    }

    /// Takes the delivery of the highest lane that has one, unless a still higher one is expected.
    pub fn take_highest(&mut self, now: Instant) -> Highest<D> {
        let Some(lane) = Lane::ALL.into_iter().find(|lane| self.lanes[lane.index()].is_some()) else {
            return Highest::Nothing;
        };
        let higher = self.expected[..lane.index()].iter().flatten().filter(|until| **until > now);
        if let Some(until) = higher.max() {
            return Highest::Wait(*until);
        }
        match self.lanes[lane.index()].take() {
            Some((_, delivery)) => Highest::Take(lane, delivery),
            None => Highest::Nothing,
        }
    }

    /// Takes what has waited for `hold` or longer in these lanes.
    pub fn take_stale(&mut self, lanes: &[Lane], now: Instant, hold: Duration) -> Vec<D> {
        self.take_where(lanes, |since| now.saturating_duration_since(since) >= hold)
    }

    /// Takes everything of these lanes.
    pub fn take_all(&mut self, lanes: &[Lane]) -> Vec<D> {
        self.take_where(lanes, |_| true)
    }

    fn take_where(&mut self, lanes: &[Lane], wanted: impl Fn(Instant) -> bool) -> Vec<D> {
        let mut taken = Vec::new();
        for lane in lanes {
            let slot = self.lanes[lane.index()].take_if(|(since, _)| wanted(*since));
            taken.extend(slot.map(|(_, delivery)| delivery));
        }
        taken
    }

    /// When the first delivery becomes stale; `None` when nothing is held.
    #[must_use]
    pub fn next_stale(&self, hold: Duration) -> Option<Instant> {
        self.lanes.iter().flatten().map(|(since, _)| *since + hold).min()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_lane_comes_first_and_stale_ones_leave() {
        let start = Instant::now();
        let hold = Duration::from_millis(100);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut held = Held::default();
        assert!(held.is_empty() && held.next_stale(hold).is_none());
        assert_eq!(held.put(Lane::Low, at(0), "low"), None);
        assert_eq!(held.put(Lane::High, at(50), "high"), None);
        assert_eq!(held.put(Lane::Normal, at(60), "normal"), None);
        assert_eq!(held.next_stale(hold), Some(at(100)));
        assert_eq!(held.take_highest(at(60)), Highest::Take(Lane::High, "high"));
        assert!(held.take_stale(&Lane::ALL, at(99), hold).is_empty());
        assert!(held.take_stale(&[Lane::High, Lane::Normal], at(100), hold).is_empty());
        assert_eq!(held.take_stale(&Lane::ALL, at(100), hold), ["low"]);
        assert_eq!(held.put(Lane::Normal, at(120), "again"), Some("normal"));
        assert!(held.take_all(&[Lane::Low]).is_empty());
        assert_eq!(held.take_all(&[Lane::Normal]), ["again"]);
        assert_eq!(held.take_highest(at(120)), Highest::Nothing);
    }

    #[test]
    fn a_lower_lane_waits_for_a_higher_one_for_a_moment() {
        let start = Instant::now();
        let mut held = Held::default();
        held.expect(Lane::High, start);
        held.expect(Lane::Low, start);
        assert_eq!(held.put(Lane::Normal, start, "normal"), None);
        assert_eq!(held.take_highest(start), Highest::Wait(start + EXPECT));
        assert_eq!(held.take_highest(start + EXPECT), Highest::Take(Lane::Normal, "normal"));
        // Its own lane and lower ones are not waited for.
        held.expect(Lane::Normal, start + EXPECT);
        assert_eq!(held.put(Lane::Normal, start, "next"), None);
        assert_eq!(held.take_highest(start + EXPECT), Highest::Take(Lane::Normal, "next"));
    }
}
