//! Calls into decoders that may panic on hostile input.
//!
//! The standard panic hook prints before unwinding starts, so catching alone would still write to the terminal. The
//! hook installed here stays silent while a guarded call runs on the panicking thread, and hands every other panic to
//! the hook that was there before.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// A guarded call gave up instead of returning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the decoder gave up: {message}")]
pub(super) struct GaveUp {
    /// What it said.
    pub message: String,
}

/// Runs `call`; a panic inside becomes an error and prints nothing.
///
/// What `call` borrowed mutably may be left in any state that its type allows: the caller drops or resets it.
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, GaveUp> {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    QUIET.set(outer);
    result.map_err(|payload| GaveUp { message: message(payload.as_ref()) })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let result: Result<(), _> = guarded(|| panic!("index {} out of range", 7));
        assert_eq!(result.unwrap_err().message, "index 7 out of range");
        assert_eq!(guarded(|| 3), Ok(3));
    }

    #[test]
    fn the_flag_is_restored_after_nested_calls() {
        let result = guarded(|| {
            let inner: Result<(), _> = guarded(|| panic!("inner"));
            assert!(inner.is_err());
            QUIET.get()
        });
        assert_eq!(result, Ok(true));
        assert!(!QUIET.get());
    }
}
