//! Which held jobs may work now, pure: by number and by bytes.
//!
//! A seat is taken before a notice is asked for, since a worker without room must not hold notices. What a job needs is
//! known only with its lease; a job that does not fit waits in its seat, and meanwhile no further seat is given, so that
//! large jobs cannot be overtaken for ever. A job that needs more than there is works alone.

use std::collections::BTreeMap;

/// One seat; they are numbered in the order in which they were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat(u64);

/// What is known of the job in a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sitter {
    /// No job yet, or its needs are not known.
    Empty,
    /// Its job needs so many bytes and waits for them.
    Waiting(u64),
    /// Its job works with so many bytes.
    Working(u64),
}

/// The seats of a worker.
#[derive(Debug, Clone)]
pub struct Admission {
    seats_max: usize,
    bytes_max: u64,
    next: u64,
    seats: BTreeMap<Seat, Sitter>,
}

impl Admission {
    /// So many jobs at once, which together need at most so many bytes.
    #[must_use]
    pub fn new(seats_max: usize, bytes_max: u64) -> Self {
        Self { seats_max, bytes_max, next: 0, seats: BTreeMap::new() }
    }

    /// A seat, when there is room for another job.
    pub fn sit(&mut self) -> Option<Seat> {
        let waiting = self.seats.values().any(|sitter| matches!(sitter, Sitter::Waiting(_)));
        if waiting || self.seats.len() >= self.seats_max || self.bytes_used() >= self.bytes_max {
            return None;
        }
        let seat = Seat(self.next);
        self.next += 1;
        self.seats.insert(seat, Sitter::Empty);
        Some(seat)
    }

    /// Says what the job in a seat needs; whether it may work at once.
    pub fn weigh(&mut self, seat: Seat, bytes: u64) -> bool {
        self.seats.insert(seat, Sitter::Waiting(bytes));
        self.admit();
        self.works(seat)
    }

    /// Whether the job in a seat may work.
    #[must_use]
    pub fn works(&self, seat: Seat) -> bool {
        matches!(self.seats.get(&seat), Some(Sitter::Working(_)))
    }

    /// Gives a seat back.
    pub fn leave(&mut self, seat: Seat) {
        self.seats.remove(&seat);
        self.admit();
    }

    /// Seats that are taken, whether or not a job sits there.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.seats.len()
    }

    /// Jobs that work or wait for bytes.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.seats.values().filter(|sitter| !matches!(sitter, Sitter::Empty)).count()
    }

    fn bytes_used(&self) -> u64 {
        let used = |sitter: &Sitter| if let Sitter::Working(bytes) = sitter { *bytes } else { 0 };
        self.seats.values().map(used).fold(0, u64::saturating_add)
    }

    /// Lets those who wait begin, oldest first, as far as the bytes reach.
    fn admit(&mut self) {
        let (mut used, bytes_max) = (self.bytes_used(), self.bytes_max);
        for sitter in self.seats.values_mut() {
            if let Sitter::Waiting(bytes) = *sitter {
                if used > 0 && used.saturating_add(bytes) > bytes_max {
                    return;
                }
                used = used.saturating_add(bytes);
                *sitter = Sitter::Working(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted() {
        let mut admission = Admission::new(2, 100);
        let (first, second) = (admission.sit().unwrap(), admission.sit().unwrap());
        assert_eq!(admission.sit(), None);
        assert_eq!((admission.taken(), admission.jobs()), (2, 0));
        admission.leave(first);
        assert!(admission.sit().is_some_and(|third| third > second));
    }

    #[test]
    fn bytes_are_counted_to_the_last() {
        let mut admission = Admission::new(9, 100);
        let seats: Vec<_> = (0..4).map(|_| admission.sit().unwrap()).collect();
        assert!(admission.weigh(seats[0], 60));
        assert!(admission.weigh(seats[1], 40), "exactly full");
        assert_eq!(admission.sit(), None, "full");
        assert!(!admission.weigh(seats[2], 1), "one byte too many");
        admission.leave(seats[1]);
        assert!(admission.works(seats[2]));
        assert!(!admission.weigh(seats[3], 40));
        assert_eq!(admission.jobs(), 3);
    }

    #[test]
    fn nobody_overtakes_a_large_job_and_it_works_alone() {
        let mut admission = Admission::new(9, 100);
        let seats: Vec<_> = (0..3).map(|_| admission.sit().unwrap()).collect();
        assert!(admission.weigh(seats[0], 50));
        assert!(!admission.weigh(seats[1], 500));
        assert!(!admission.weigh(seats[2], 10), "it would fit, but it is not its turn");
        assert_eq!(admission.sit(), None);
        admission.leave(seats[0]);
        assert!(admission.works(seats[1]) && !admission.works(seats[2]));
        admission.leave(seats[1]);
        assert!(admission.works(seats[2]));
        assert!(admission.sit().is_some());
    }

    #[test]
    fn jobs_that_need_nothing_are_bounded_by_seats_alone() {
        let mut admission = Admission::new(3, 1);
        for _ in 0..3 {
            let seat = admission.sit().unwrap();
            assert!(admission.weigh(seat, 0));
        }
        assert_eq!(admission.sit(), None);
    }
}
