//! Other programs, asked with a bound on time and on what they say.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How much of each stream is kept, bytes.
const SAID_BYTES_MAX: u64 = 256 << 10;
/// How often a running program is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// What a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it ended well.
    pub success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Answer {
    /// The last line with anything on it that it said in error, or else at all.
    #[must_use]
    pub fn last_word(&self) -> String {
        let last = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        last(&self.err).or_else(|| last(&self.out)).unwrap_or_else(|| "it said nothing".to_owned())
    }
}

/// What a program of ours complained about: the error with its causes, on one line, and the first hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What failed, and why.
    pub error: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Answer {
    /// Reads the form in which Rollcall's programs report errors; anything else is kept as its last line.
    #[must_use]
    pub fn complaint(&self) -> Complaint {
        let all =
            |prefix: &'static str| self.err.lines().filter_map(move |line| line.trim().strip_prefix(prefix));
        let parts: Vec<&str> = all("error: ").chain(all("caused by: ")).collect();
        let error = if parts.is_empty() { self.last_word() } else { parts.join(": ") };
        Complaint { error, hint: all("hint: ").next().map(str::to_owned) }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// It is not here.
    #[error("is not installed")]
    Missing,
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(#[source] io::Error),
    /// It does not end.
    #[error("did not end within {} s", .0.as_secs())]
    Hangs(Duration),
}

/// Runs a program to its end, or kills it.
///
/// # Errors
/// Any [`Silence`].
pub fn ask(command: &mut Command, limit: Duration) -> Result<Answer, Silence> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Silence::Missing,
        _ => Silence::Start(error),
    })?;
    let (out, err) = (child.stdout.take().map(listen), child.stderr.take().map(listen));
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(Silence::Start)? {
            Some(status) => break status,
            None if began.elapsed() > limit => {
                // It may have ended just now, which is as good.
                _ = child.kill();
                _ = child.wait();
                return Err(Silence::Hangs(limit));
            }
            None => std::thread::sleep(GLANCE),
        }
    };
    let said = |listener: Option<JoinHandle<String>>| {
        listener.and_then(|listener| listener.join().ok()).unwrap_or_default()
    };
    Ok(Answer { success: status.success(), out: said(out), err: said(err) })
}

/// Reads everything and keeps the beginning, so that the child never waits for us.
fn listen(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut said = Vec::new();
        // An error means that the child is gone; what was read until then stands.
        _ = stream.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said);
        _ = io::copy(&mut stream, &mut io::sink());
        String::from_utf8_lossy(&said).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn programs_answer_fail_hang_or_are_not_there() {
        let limit = Duration::from_secs(20);
        let answer = ask(&mut shell("echo out; echo one >&2; echo 'two ' >&2; exit 3"), limit).unwrap();
        assert_eq!((answer.success, answer.out.as_str()), (false, "out\n"));
        assert_eq!(answer.last_word(), "two");
        assert_eq!(answer.complaint(), Complaint { error: "two".to_owned(), hint: None });
        let ours = "echo 'error: no device: `cuda`' >&2; echo 'caused by: no driver' >&2; echo 'hint: use the CPU' >&2";
        let said = ask(&mut shell(ours), limit).unwrap().complaint();
        assert_eq!(
            (said.error.as_str(), said.hint.as_deref()),
            ("no device: `cuda`: no driver", Some("use the CPU"))
        );
        assert!(ask(&mut shell("exec sleep 600"), Duration::from_millis(50)).is_err());
        let nowhere = tempfile::tempdir().unwrap();
        let missing = ask(&mut Command::new(nowhere.path().join("program")), limit);
        assert_eq!(missing.unwrap_err().to_string(), "is not installed");
        let much = ask(&mut shell("head -c 3000000 /dev/zero | tr '\\0' x"), limit).unwrap();
        assert_eq!(much.out.len() as u64, SAID_BYTES_MAX);
    }
}
