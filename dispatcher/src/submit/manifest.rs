//! Lists of recordings: `jobs.jsonl`, and lines on stdin. Bounded in lines and in the length of each.

use std::io::{self, BufRead, Read as _};
use std::path::Path;

use common::job::spec::{SourceRef, URI_BYTES_MAX};

use crate::wire::request::{JobRequest, RequestError};

/// Most lines of a list.
pub const LINES_MAX: usize = 100_000;
/// Longest line of a manifest, bytes: the longest addresses and tags of a job, and room for JSON around them.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Why a list is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the list cannot be read after line {line}")]
    Unreadable {
        /// The last line that was read.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is not a job.
    #[error("line {line} of the list is not a job")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: RequestError,
    },
    /// A line is too long.
    #[error("a line of the list has at most {bytes_max} bytes: line {line}")]
    TooLong {
        /// Counted from 1.
        line: usize,
        /// The longest that is read.
        bytes_max: usize,
    },
    /// Too many lines.
    #[error("a list has at most {LINES_MAX} lines")]
    TooMany,
}

/// The jobs of a manifest. Relative paths start at `folder`.
///
/// # Errors
/// The first line that is not a job.
pub fn read(input: impl BufRead, folder: &Path) -> Result<Vec<JobRequest>, ManifestError> {
    lines(input, LINE_BYTES_MAX)?
        .into_iter()
        .map(|(line, text)| {
            let not_a_job = |source| ManifestError::Line { line, source };
            let mut request = JobRequest::from_json(&text).map_err(not_a_job)?;
            // Bounds of a specification do not depend on its recording.
            let spec = request.wishes.spec(SourceRef::at("s3://bucket/key"), None);
            spec.map_err(|error| not_a_job(RequestError::Spec(error)))?;
            request.audio = beside(folder, request.audio);
            request.wishes.transcript =
                request.wishes.transcript.map(|transcript| beside(folder, transcript));
            Ok(request)
        })
        .collect()
}

/// The recordings of a plain list, one a line.
///
/// # Errors
/// When it is out of bounds or cannot be read.
pub fn read_list(input: impl BufRead) -> Result<Vec<String>, ManifestError> {
    Ok(lines(input, URI_BYTES_MAX)?.into_iter().map(|(_, text)| text).collect())
}

fn beside(folder: &Path, text: String) -> String {
    if text.contains("://") { text } else { folder.join(text).to_string_lossy().into_owned() }
}

/// Lines that are not blank, with their numbers from 1.
fn lines(mut input: impl BufRead, bytes_max: usize) -> Result<Vec<(usize, String)>, ManifestError> {
    let (mut found, mut line) = (Vec::new(), 0);
    loop {
        let mut bytes = Vec::new();
        // One more than allowed, and the line's end, tell a line that is too long.
        let taken = input.by_ref().take(bytes_max as u64 + 2).read_until(b'\n', &mut bytes);
        let unreadable = |source| ManifestError::Unreadable { line, source };
        if taken.map_err(unreadable)? == 0 {
            return Ok(found);
        }
        line += 1;
        if line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.len() > bytes_max {
            return Err(ManifestError::TooLong { line, bytes_max });
        }
        let text = String::from_utf8(bytes).map_err(|error| ManifestError::Unreadable {
            line,
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        if !text.trim().is_empty() {
            found.push((line, text));
        }
        if found.len() > LINES_MAX {
            return Err(ManifestError::TooMany);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_jobs_beside_the_manifest() {
        let text = "\u{feff}{\"audio\":\"a.wav\",\"options\":{\"transcript\":\"t.json\"}}\r\n\n{\"audio\":\"s3://b/k\"}\n{\"audio\":\"/abs.wav\"}";
        let jobs = read(text.as_bytes(), Path::new("/lists")).unwrap();
        let audio: Vec<_> = jobs.iter().map(|job| job.audio.as_str()).collect();
        assert_eq!(audio, ["/lists/a.wav", "s3://b/k", "/abs.wav"]);
        assert_eq!(jobs[0].wishes.transcript.as_deref(), Some("/lists/t.json"));
        let error = read("\n{\"audio\":\"a\",\"options\":{\"num_speakers\":0}}".as_bytes(), Path::new(""))
            .unwrap_err();
        assert!(matches!(error, ManifestError::Line { line: 2, .. }), "{error}");
        let error = read("\n{\"audio\":1}".as_bytes(), Path::new("")).unwrap_err();
        assert!(matches!(error, ManifestError::Line { line: 2, .. }), "{error}");
    }

    #[test]
    fn lists_are_bounded() {
        assert_eq!(read_list("a\n\n b.wav \n".as_bytes()).unwrap(), ["a", " b.wav "]);
        let longest = "x".repeat(URI_BYTES_MAX);
        assert_eq!(read_list(format!("{longest}\r\n").as_bytes()).unwrap()[0].len(), URI_BYTES_MAX);
        for line in [format!("{longest}x\n"), format!("a\n{longest}x")] {
            assert!(matches!(read_list(line.as_bytes()), Err(ManifestError::TooLong { .. })));
        }
        assert!(read_list("a\n".repeat(LINES_MAX).as_bytes()).is_ok());
        assert!(matches!(read_list("a\n".repeat(LINES_MAX + 1).as_bytes()), Err(ManifestError::TooMany)));
        assert!(matches!(read_list(&b"\xff\n"[..]), Err(ManifestError::Unreadable { .. })));
    }
}
