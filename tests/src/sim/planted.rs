//! Defects that the simulator must find. Each stands in the simulated surroundings of the real code, never in it.

/// A defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Planted {
    /// None.
    #[default]
    Nothing,
    /// A settlement is applied whatever its token.
    SettleWithoutToken,
    /// Rescue makes a running job available, but the old lease stays good.
    RescueKeepsToken,
    /// Documents go to their stable keys before the job is settled.
    ExportBeforeSettle,
    /// A lease counts as extended when nobody answered.
    UnknownExtends,
    /// A bell leaves the outbox before the broker confirmed it, and nobody rings again.
    DeleteBeforeConfirm,
    /// Handing a job back costs an attempt.
    InterruptionCosts,
}

impl Planted {
    /// Every defect.
    pub const ALL: [Self; 6] = [
        Self::SettleWithoutToken,
        Self::RescueKeepsToken,
        Self::ExportBeforeSettle,
        Self::UnknownExtends,
        Self::DeleteBeforeConfirm,
        Self::InterruptionCosts,
    ];
}
