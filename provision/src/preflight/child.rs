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

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// It could not be started.
    #[error("cannot be started: {0}")]
    Start(#[from] io::Error),
    /// It does not end.
    #[error("did not end within {} s", .0.as_secs())]
    Hangs(Duration),
}

/// Runs a program to its end, or kills it.
///
/// # Errors
/// Any [`Silence`].
pub fn ask(command: &mut Command, limit: Duration) -> Result<Answer, Silence> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take().map(listen), child.stderr.take().map(listen));
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
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
        assert!(ask(&mut shell("exec sleep 600"), Duration::from_millis(50)).is_err());
        assert!(matches!(ask(&mut Command::new("/nonexistent"), limit), Err(Silence::Start(_))));
        let much = ask(&mut shell("head -c 3000000 /dev/zero | tr '\\0' x"), limit).unwrap();
        assert_eq!(much.out.len() as u64, SAID_BYTES_MAX);
    }
}
