//! What a machine shows of its cards beside the driver's library, so that a card that does not work is not taken for none.

use std::path::Path;

use cudarc::driver::sys::CUresult;

use super::error::CudaError;

/// A folder for each card that the kernel's driver runs, seen from containers without a card too.
const CARDS: &str = "/proc/driver/nvidia/gpus";
/// Without this file nobody can use a card: a container that was given none has none of the device files.
const CONTROL: &str = "/dev/nvidiactl";
/// The driver shows a process the cards that stand here, up to the first that it does not know.
const VISIBLE_VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    cards: usize,
    /// The driver's device file is there.
    control: bool,
    /// Somebody took all cards away from this process.
    hidden: bool,
}

impl Seen {
    /// Looks at this machine.
    pub fn look() -> Self {
        let visible = std::env::var_os(VISIBLE_VARIABLE).map(|value| value.to_string_lossy().into_owned());
        Self {
            cards: std::fs::read_dir(Path::new(CARDS)).map_or(0, Iterator::count),
            control: Path::new(CONTROL).exists(),
            hidden: visible.is_some_and(|value| hides_all(&value)),
        }
    }

    /// Why no card can be used, where `error` alone may sound as if there were none.
    pub fn judge(self, error: CudaError) -> CudaError {
        let meant_for_us = match &error {
            CudaError::NoDriver => self.control,
            CudaError::NoDevice { count: ..=0, .. }
            | CudaError::Driver { code: CUresult::CUDA_ERROR_NO_DEVICE, .. } => !self.hidden,
            _ => false,
        };
        if meant_for_us && self.cards > 0 {
            CudaError::Unreachable { cards: self.cards, source: Box::new(error) }
        } else {
            error
        }
    }
}

/// Whether a list of visible cards begins with what cannot be one (nothing, `-1`, `NoDevFiles`).
fn hides_all(list: &str) -> bool {
    let first = list.split(',').next().unwrap_or_default().trim();
    !(first.starts_with(|c: char| c.is_ascii_digit())
        || first.starts_with("GPU-")
        || first.starts_with("MIG-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(code: CUresult) -> CudaError {
        CudaError::Driver { code, detail: "as it said".to_owned() }
    }

    #[test]
    fn a_card_that_does_not_work_is_not_taken_for_none() {
        let none = Seen { cards: 0, control: false, hidden: false };
        let card = Seen { cards: 1, control: true, hidden: false };
        let no_device = || driver(CUresult::CUDA_ERROR_NO_DEVICE);
        let shows_none = || CudaError::NoDevice { ordinal: 0, count: 0 };
        for error in [|| CudaError::NoDriver, no_device, shows_none] {
            assert!(none.judge(error()).is_absence(), "{}", error());
            assert!(!card.judge(error()).is_absence(), "{}", error());
        }
        // After a start of the machine, before the device files are made.
        assert!(!Seen { control: false, ..card }.judge(no_device()).is_absence());
        // A container that was given no card sees those of its machine in /proc.
        assert!(Seen { control: false, ..card }.judge(CudaError::NoDriver).is_absence());
        // As somebody asked.
        assert!(Seen { hidden: true, ..card }.judge(no_device()).is_absence());
    }

    #[test]
    fn what_the_driver_says_of_a_card_is_no_absence() {
        let none = Seen { cards: 0, control: false, hidden: false };
        for code in [
            CUresult::CUDA_ERROR_UNKNOWN,
            CUresult::CUDA_ERROR_SYSTEM_NOT_READY,
            CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE,
            CUresult::CUDA_ERROR_OUT_OF_MEMORY,
        ] {
            assert!(!none.judge(driver(code)).is_absence(), "{code:?}");
        }
        assert!(!none.judge(CudaError::NoDevice { ordinal: 2, count: 2 }).is_absence());
    }

    #[test]
    fn a_list_without_a_card_hides_all() {
        for list in ["", " ", "-1", "NoDevFiles", "none,0"] {
            assert!(hides_all(list), "{list}");
        }
        for list in ["0", "1,0", "GPU-8932f937", "MIG-GPU-8932f937/1/0"] {
            assert!(!hides_all(list), "{list}");
        }
    }
}
