//! A result as files in a folder. Each file appears whole or not at all.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::speech::render;

use crate::cli::Format;
use crate::job::Outcome;

/// Writes the files of one result; `name` becomes the RTTM file id.
///
/// # Errors
/// The first file that cannot be written.
pub fn write(dir: &Path, name: &str, outcome: &Outcome, formats: &[Format]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let document = &outcome.document;
    for format in formats {
        let (file, content) = match format {
            Format::Json => ("segments.json", render::json::write(document)),
            Format::Rttm => ("turns.rttm", render::rttm::write(name, &document.diarization)),
            Format::Srt => ("subtitles.srt", render::subtitles::srt(document)),
            Format::Vtt => ("subtitles.vtt", render::subtitles::vtt(document)),
            Format::Txt => ("transcript.txt", render::text::write(document)),
        };
        write_whole(&dir.join(file), content.as_bytes())?;
    }
    let dimension = outcome.embeddings.first().map_or(0, Vec::len);
    let array = render::npy::write(&outcome.embeddings.concat(), outcome.embeddings.len(), dimension);
    write_whole(&dir.join("embeddings.npy"), &array)
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, content)?;
    fs::rename(&partial, path)
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

/// What a recording is called: its file name without the extension.
#[must_use]
pub fn stem(recording: &Path) -> String {
    recording.file_stem().map_or_else(|| "audio".to_owned(), |s| s.to_string_lossy().into_owned())
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
    }
}
