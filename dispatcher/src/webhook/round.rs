//! Who is told next, pure: so many at a time, so many at one host, and nobody held up by a host that does not answer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use common::clock::Monotonic;
use common::port::job_store::WebhookDue;

/// Deliveries at a time.
const AT_ONCE: usize = 64;
/// Deliveries at a time to one host: whoever keeps these waiting keeps nobody else waiting.
const PER_HOST: usize = 8;
/// Deliveries that wait here for a turn at their host. What comes on top is left to its claim, which lapses.
const PARKED_MAX: usize = 256;
/// How long a delivery may wait here: together with the longest that it may take, less than its claim lasts.
const PARKED_FOR: Duration = Duration::from_secs(8);

/// Deliveries under way, by host, and those that wait.
#[derive(Debug, Default)]
pub struct Round {
    running: HashMap<String, usize>,
    parked: VecDeque<(Monotonic, String, WebhookDue)>,
}

impl Round {
    /// Takes in what was claimed `now`.
    pub fn claimed(&mut self, due: impl IntoIterator<Item = WebhookDue>, now: Monotonic) {
        for due in due {
            if self.parked.len() >= PARKED_MAX {
                break;
            }
            let host = host(due.record.spec.callback_url.as_deref().unwrap_or_default());
            self.parked.push_back((now, host, due));
        }
    }

    /// The next delivery that may begin, and the host whose turn it takes.
    pub fn next(&mut self, now: Monotonic) -> Option<(String, WebhookDue)> {
        // Somebody else may claim it before it would be over.
        self.parked.retain(|(since, ..)| now.since(*since) <= PARKED_FOR);
        if self.free() == 0 {
            return None;
        }
        let turn = |host: &String| self.running.get(host).copied().unwrap_or_default() < PER_HOST;
        let at = self.parked.iter().position(|(_, host, _)| turn(host))?;
        let (_, host, due) = self.parked.remove(at)?;
        *self.running.entry(host.clone()).or_default() += 1;
        Some((host, due))
    }

    /// A delivery is over.
    pub fn ended(&mut self, host: &str) {
        if let Some(running) = self.running.get_mut(host) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                self.running.remove(host);
            }
        }
    }

    /// Deliveries that may begin now, whoever they are for.
    fn free(&self) -> usize {
        AT_ONCE.saturating_sub(self.running.values().sum())
    }

    /// How many to claim.
    pub fn wants(&self) -> usize {
        if self.is_waiting() {
            self.free().min(PARKED_MAX.saturating_sub(self.parked.len()))
        } else {
            self.free()
        }
    }

    /// Whether somebody waits for a turn at their host: more of the same may be due, so what comes behind it is looked for
    /// without haste.
    pub fn is_waiting(&self) -> bool {
        !self.parked.is_empty()
    }
}

/// Whose turn a delivery to an address takes.
fn host(url: &str) -> String {
    let uri: Option<hyper::Uri> = url.parse().ok();
    uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use common::clock::Timestamp;
    use common::job::id::JobId;
    use common::job::record::JobRecord;
    use common::job::spec::{JobSpec, SourceRef};
    use common::port::job_store::WebhookClaim;

    use super::*;

    fn due(url: &str) -> WebhookDue {
        let mut spec = JobSpec::diarize(SourceRef::at("s3://b/a.wav"));
        spec.callback_url = Some(url.to_owned());
        let job = JobId::new(Timestamp::default(), [0; 16]);
        let record = JobRecord::accepted(job, spec, Duration::ZERO, Timestamp::default());
        WebhookDue { claim: WebhookClaim { job, until: Timestamp::default() }, record, tries: 0 }
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    fn begun(round: &mut Round, now: u64) -> Vec<String> {
        std::iter::from_fn(|| round.next(at(now)).map(|(host, _)| host)).collect()
    }

    #[test]
    fn one_host_has_its_share_and_no_more() {
        let mut round = Round::default();
        assert_eq!(round.wants(), AT_ONCE);
        let slow = (0..20).map(|n| due(&format!("https://SLOW.example:8443/{n}")));
        round.claimed(slow.chain([due("https://quick.example/")]), at(0));
        let mut first = vec!["slow.example".to_owned(); PER_HOST];
        first.push("quick.example".to_owned());
        assert_eq!(begun(&mut round, 0), first);
        assert!(round.is_waiting());
        round.ended("quick.example");
        assert_eq!(begun(&mut round, 1), Vec::<String>::new());
        round.ended("slow.example");
        assert_eq!(begun(&mut round, 2), ["slow.example"]);
        round.ended("slow.example");
        let late = u64::try_from(PARKED_FOR.as_millis()).unwrap() + 1;
        assert_eq!(begun(&mut round, late), Vec::<String>::new(), "its claim is nearly over");
        assert!(!round.is_waiting());
        assert_eq!(round.wants(), AT_ONCE - (PER_HOST - 1));
    }

    #[test]
    fn everything_is_bounded() {
        let mut round = Round::default();
        round.claimed((0..2 * PARKED_MAX).map(|n| due(&format!("https://h{}.example/", n % 100))), at(0));
        assert_eq!(round.parked.len(), PARKED_MAX);
        assert_eq!((round.wants(), begun(&mut round, 0).len()), (0, AT_ONCE));
        assert_eq!((round.wants(), begun(&mut round, 0).len()), (0, 0));
        assert_eq!(host("no address"), "");
    }
}
