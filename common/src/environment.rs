//! The environment that a program starts with, put in order before anything reads it.
//!
//! A process cannot safely change its own environment, so a program that finds it out of order starts itself again in its
//! place, once, at the very beginning.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the names of our own variables begin with.
const OURS: &[u8] = b"ROLLCALL_";

/// Comes back at once where every variable of `wanted` has its value and none of ours is set to nothing, which is as good
/// as not set: compose files, unit files and CI set such. Otherwise this program starts again with an environment of that
/// kind, under the same process id.
///
/// # Errors
/// When it cannot be started again: it may go on as it is.
pub fn settle(wanted: &[(&str, &str)]) -> io::Result<()> {
    let empty = empty_ones(std::env::vars_os());
    let settled = wanted.iter().all(|(name, value)| std::env::var_os(name).is_some_and(|set| set == *value));
    if empty.is_empty() && settled {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).envs(wanted.iter().copied());
    for name in &empty {
        again.env_remove(name);
    }
    Err(again.exec())
}

fn empty_ones(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<OsString> {
    let is_ours = |name: &OsStr| name.as_bytes().starts_with(OURS);
    variables.filter(|(name, value)| is_ours(name) && value.is_empty()).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ours_and_only_empty_ones_go() {
        let set = [("ROLLCALL_HOME", ""), ("ROLLCALL_LOG", "info"), ("HOME", ""), ("AWS_REGION", "")];
        let found = empty_ones(set.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(found, ["ROLLCALL_HOME"]);
        // As it is while tests run: nothing is wanted that is not there.
        assert!(settle(&[]).is_ok());
    }
}
