//! What a consumer holds between the server's push and the caller's `next`: at most one delivery per lane.
//!
//! Pure: the time is an argument. Generic over the delivery, so that every pushing adapter decides alike.

use std::time::{Duration, Instant};

use crate::job::lane::Lane;

/// One delivery per lane at most, each with the time of its arrival.
#[derive(Debug)]
pub struct Held<D> {
    lanes: [Option<(Instant, D)>; Lane::ALL.len()],
}

impl<D> Default for Held<D> {
    fn default() -> Self {
        Self { lanes: [const { None }; Lane::ALL.len()] }
    }
}

impl<D> Held<D> {
    /// Keeps a delivery; gives back the one that its lane already had (a server that ignores the prefetch of 1).
    pub fn put(&mut self, lane: Lane, now: Instant, delivery: D) -> Option<D> {
        self.lanes[lane.index()].replace((now, delivery)).map(|(_, earlier)| earlier)
    }

    /// Takes the delivery of the highest lane that has one.
    pub fn take_highest(&mut self) -> Option<(Lane, D)> {
        let lane = Lane::ALL.into_iter().find(|lane| self.lanes[lane.index()].is_some())?;
        self.lanes[lane.index()].take().map(|(_, delivery)| (lane, delivery))
    }

    /// Takes what has waited for `hold` or longer.
    pub fn take_stale(&mut self, now: Instant, hold: Duration) -> Vec<D> {
        let stale = |slot: &Option<(Instant, D)>| {
            slot.as_ref().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= hold)
        };
        self.lanes.iter_mut().filter(|slot| stale(slot)).filter_map(Option::take).map(|(_, d)| d).collect()
    }

    /// Takes everything.
    pub fn take_all(&mut self) -> Vec<D> {
        self.lanes.iter_mut().filter_map(Option::take).map(|(_, delivery)| delivery).collect()
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
        assert_eq!(held.take_highest(), Some((Lane::High, "high")));
        assert!(held.take_stale(at(99), hold).is_empty());
        assert_eq!(held.take_stale(at(100), hold), ["low"]);
        assert_eq!(held.put(Lane::Normal, at(120), "again"), Some("normal"));
        assert_eq!(held.take_all(), ["again"]);
        assert_eq!(held.take_highest(), None);
    }
}
