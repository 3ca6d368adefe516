//! A result as files in a folder. Each file appears whole or not at all.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::speech::render;
use common::speech::render::html::{self, Sound};

use crate::cli::Format;
use crate::job::Outcome;

/// Writes the files of one result; `name` becomes the RTTM file id, `audio` is what the timeline plays.
///
/// # Errors
/// The first file that cannot be written.
pub fn write(dir: &Path, name: &str, audio: &Path, outcome: &Outcome, formats: &[Format]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (file, content) in documents(name, audio, outcome, formats, file_address(audio).as_deref())? {
        write_whole(&dir.join(file), &content)?;
    }
    Ok(())
}

/// The documents of one result: file names and contents, the centroids last. `reference` is where a page that does not
/// hold its sound finds it.
///
/// # Errors
/// When the audio cannot be read for the page.
pub fn documents(
    name: &str,
    audio: &Path,
    outcome: &Outcome,
    formats: &[Format],
    reference: Option<&str>,
) -> io::Result<Vec<(&'static str, Vec<u8>)>> {
    let document = &outcome.document;
    let mut files = Vec::with_capacity(formats.len() + 1);
    for format in formats {
        let (file, content) = match format {
            Format::Json => ("segments.json", render::json::write(document)),
            Format::Rttm => ("turns.rttm", render::rttm::write(name, document)),
            Format::Srt => ("subtitles.srt", render::subtitles::srt(document)),
            Format::Vtt => ("subtitles.vtt", render::subtitles::vtt(document)),
            Format::Txt => ("transcript.txt", render::text::write(document)),
            Format::Html => ("timeline.html", timeline(name, audio, outcome, reference)?),
        };
        files.push((file, content.into_bytes()));
    }
    let dimension = outcome.embeddings.first().map_or(0, Vec::len);
    let array = render::npy::write(&outcome.embeddings.concat(), outcome.embeddings.len(), dimension);
    files.push(("embeddings.npy", array));
    Ok(files)
}

/// The page, with the sound inside when it is small enough and browsers play it, else with a reference to the file.
fn timeline(name: &str, audio: &Path, outcome: &Outcome, reference: Option<&str>) -> io::Result<String> {
    let media_type = media_type(outcome.container);
    let small = fs::metadata(audio)?.len() <= html::EMBEDDED_BYTES_MAX;
    let bytes = if small && media_type.is_some() { fs::read(audio)? } else { Vec::new() };
    let file = media_type.filter(|_| small).map(|kind| (bytes.as_slice(), kind));
    let reference = media_type.and(reference);
    let sound = Sound::choose(file, html::EMBEDDED_BYTES_MAX, reference);
    Ok(html::write(&outcome.document, name, sound))
}

/// What browsers call a container; `None` for those that none of them plays.
fn media_type(container: &str) -> Option<&'static str> {
    Some(match container {
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "mpeg audio" => "audio/mpeg",
        "adts" => "audio/aac",
        "mp4" => "audio/mp4",
        "ogg" => "audio/ogg",
        "matroska" => "audio/webm",
        _ => return None,
    })
}

/// `file://` and the absolute path, percent-encoded.
fn file_address(path: &Path) -> Option<String> {
    let absolute = fs::canonicalize(path).ok()?;
    let mut address = "file://".to_owned();
    for byte in absolute.to_str()?.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            address.push(char::from(byte));
        } else {
            write!(address, "%{byte:02X}").expect("writing to memory");
        }
    }
    Some(address)
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = fs::write(&partial, content).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // What is half there helps nobody; why it could not be written is what counts.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// A folder of its own for each recording: its stem, or `stem-2`, `stem-3` for further ones of the same stem.
#[must_use]
pub fn folders(out: &Path, recordings: &[PathBuf]) -> Vec<PathBuf> {
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut used = std::collections::HashSet::new();
    recordings
        .iter()
        .map(|recording| {
            let stem = stem(recording);
            loop {
                let n = taken.entry(stem.clone()).or_insert(0);
                *n += 1;
                let name = if *n == 1 { stem.clone() } else { format!("{stem}-{n}") };
                if used.insert(name.clone()) {
                    return out.join(name);
                }
            }
        })
        .collect()
}

/// What a recording is called: its file name without the extension. Of `...wav` it is the whole name, since `..` leads
/// elsewhere.
#[must_use]
pub fn stem(recording: &Path) -> String {
    let stem = recording.file_stem().filter(|stem| *stem != "." && *stem != "..");
    let name = stem.or_else(|| recording.file_name());
    name.map_or_else(|| "audio".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stems_get_folders_of_their_own() {
        let names = |list: &[&str]| -> Vec<String> {
            let list: Vec<PathBuf> = list.iter().map(PathBuf::from).collect();
            folders(Path::new("o"), &list).iter().map(|p| p.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&["a/x.wav", "b/x.flac", "x.mp3"]), ["o/x", "o/x-2", "o/x-3"]);
        assert_eq!(names(&["x.wav", "x-2.wav", "y/x.wav"]), ["o/x", "o/x-2", "o/x-3"]);
        assert_eq!(names(&["...wav", "..wav", ".wav"]), ["o/...wav", "o/..wav", "o/.wav"], "nowhere else");
    }
}
