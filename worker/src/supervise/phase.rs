//! Starting, working, draining, stopping: who says which, and who waits for it.

use std::time::Duration;

use tokio::sync::watch;

/// What a worker is doing. Only ever moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The fleet has not heard of it yet.
    Starting,
    /// Takes jobs.
    Working,
    /// Takes none, finishes those it holds.
    Draining,
    /// Hands back those it holds.
    Stopping,
}

/// The phase of one worker; clones share it.
#[derive(Debug, Clone)]
pub struct Phases(watch::Sender<Phase>);

impl Default for Phases {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Starting))
    }
}

impl Phases {
    /// Is known to the fleet.
    pub fn work(&self) {
        self.0.send_if_modified(|phase| advance(phase, Phase::Working));
    }

    /// Takes no more jobs.
    pub fn drain(&self) {
        self.0.send_if_modified(|phase| advance(phase, Phase::Draining));
    }

    /// Hands back what is held.
    pub fn stop(&self) {
        self.0.send_if_modified(|phase| advance(phase, Phase::Stopping));
    }

    /// The phase now.
    #[must_use]
    pub fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until a phase or a later one is reached.
    pub async fn reached(&self, wanted: Phase) {
        // The sender is in `self`, so the channel cannot be closed.
        let _ = self.0.subscribe().wait_for(|phase| *phase >= wanted).await;
    }
}

fn advance(phase: &mut Phase, to: Phase) -> bool {
    let later = to > *phase;
    if later {
        *phase = to;
    }
    later
}

/// The first SIGTERM or SIGINT drains; `grace` later, or with the second one, what is held is handed back. Without a
/// `grace`, draining takes as long as it takes.
///
/// # Errors
/// When the system does not deliver signals.
pub async fn signals(phases: Phases, grace: Option<Duration>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut told = async || tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} };
    told().await;
    tracing::info!("told to stop: takes no more jobs");
    phases.drain();
    match grace {
        Some(grace) => {
            // Either way what is left is handed back.
            let _ = tokio::time::timeout(grace, told()).await;
        }
        None => told().await,
    }
    phases.stop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_move_on() {
        let phases = Phases::default();
        assert_eq!(phases.now(), Phase::Starting);
        phases.work();
        assert_eq!(phases.now(), Phase::Working);
        phases.stop();
        phases.work();
        phases.drain();
        assert_eq!(phases.now(), Phase::Stopping);
        phases.reached(Phase::Draining).await;
    }
}
