//! The only writer of stdout and stderr: tables, JSON, progress, errors with their hints.
//!
//! stdout carries what may be piped; everything about how it went is on stderr. Text from outside is made printable.

pub mod bars;
pub mod fleet;
pub mod length;
pub mod records;
pub mod score;
pub mod screen;
pub mod service;
pub mod speakers;
pub mod submitted;
pub mod table;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use common::speech::render::printable::one_line;
use terminal_size::{Width, terminal_size_of};

use crate::command::{ExitStatus, Explain};
use crate::settings::show::Shown;
use table::Table;

/// How writing to stdout ended the command: a reader that went away has what it wanted.
#[must_use]
pub fn status(written: io::Result<()>) -> ExitStatus {
    match written {
        Ok(()) => ExitStatus::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Done,
        Err(error) => {
            to_stderr(&format!("error: cannot write the output\ncaused by: {error}\n"));
            ExitStatus::Failed
        }
    }
}

/// Prints an error: what failed, why, what to try. Gives the exit code that it means.
pub fn failure<E: Explain + ?Sized>(error: &E) -> ExitStatus {
    to_stderr(&failure_text(error));
    error.status()
}

fn failure_text<E: Explain + ?Sized>(error: &E) -> String {
    let mut text = format!("error: {}\n", one_line(&error.to_string()));
    let mut cause = error.source();
    while let Some(error) = cause {
        writeln!(text, "caused by: {}", one_line(&error.to_string())).expect("writing to memory");
        cause = error.source();
    }
    for hint in error.hints() {
        writeln!(text, "hint: {}", one_line(&hint)).expect("writing to memory");
    }
    text
}

/// Writes to stdout.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes bytes to stdout.
///
/// # Errors
/// When it cannot be written.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes to stderr.
pub(crate) fn to_stderr(text: &str) {
    // Nothing is left to tell anybody when stderr is gone.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says something on stderr that is no error.
pub fn note(text: &str) {
    to_stderr(&format!("note: {}\n", one_line(text)));
}

/// Writes error lines that are complete.
pub fn complain(lines: &str) {
    to_stderr(lines);
}

/// Whether a person looks at stderr.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Columns of the terminal that stdout is; `None` when it is none, and nothing is cut.
#[must_use]
pub fn width() -> Option<usize> {
    let out = io::stdout();
    if out.is_terminal() {
        terminal_size_of(out).map(|(Width(columns), _)| usize::from(columns))
    } else {
        None
    }
}

/// One JSON value in one line.
pub(crate) fn json_line(value: &impl serde::Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("a document has string keys only");
    text.push('\n');
    text
}

/// The settings, as a table or as a JSON object of objects.
#[must_use]
pub fn settings(all: &[Shown], json: bool) -> String {
    if json {
        let object: serde_json::Map<_, _> = all
            .iter()
            .map(|shown| {
                (shown.name.to_owned(), serde_json::json!({"value": shown.value, "from": shown.origin}))
            })
            .collect();
        return json_line(&object);
    }
    let mut table = Table::new(&["setting", "value", "from"]).flexible(1, 16).flexible(2, 12);
    for shown in all {
        let value = shown.value.clone().unwrap_or_else(|| "-".to_owned());
        table.row([shown.name.to_owned(), value, shown.origin.clone()]);
    }
    table.render(width())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::error::{FleetError, Said, Service};

    #[test]
    fn an_error_has_its_causes_and_hints_in_lines_of_their_own() {
        let error = FleetError::Unreachable {
            service: Service::Queue,
            endpoint: "amqp://h:1".to_owned(),
            source: Said("Connection refused (os error 111)\n\u{1b}[2J".to_owned()),
        };
        assert_eq!(
            failure_text(&error),
            "error: the queue does not answer: `amqp://h:1`\n\
             caused by: Connection refused (os error 111) ·[2J\n\
             hint: nothing listens at `amqp://h:1`; start a fleet with `deploy/local/up.sh`\n\
             hint: `ROLLCALL_QUEUE_URL` says where it is; `rollcall config show` what is in use\n"
        );
    }

    #[test]
    fn settings_are_shown_with_their_origin() {
        let shown = |name, value: Option<&str>, origin: &str| Shown {
            name,
            value: value.map(str::to_owned),
            origin: origin.to_owned(),
        };
        let all = [shown("redis_url", Some("redis://h"), "--redis-url"), shown("store_url", None, "default")];
        assert_eq!(
            settings(&all, true),
            "{\"redis_url\":{\"from\":\"--redis-url\",\"value\":\"redis://h\"},\
             \"store_url\":{\"from\":\"default\",\"value\":null}}\n"
        );
        assert!(settings(&all, false).contains("redis_url  redis://h  --redis-url\n"));
    }
}
