//! `rollcall-worker run --speakers DIR`: the voices of a folder, documents and recordings.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use common::job::failure::Failure;
use common::speech::render::printable;
use common::speech::voice::{self, VOICES_MAX, Voice, VoiceError, VoiceSet};

use crate::enroll::{Lesson, enroll};
use crate::recording::Watch;
use crate::workbench::Workbench;

/// Why a folder of voices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("cannot read the voices in {}", printable::path(&path.display().to_string()))]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document that is no voice.
    #[error("not a known voice: {}", printable::path(&path.display().to_string()))]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VoiceError,
    },
    /// A voice that was learnt with other networks.
    #[error(
        "the voice in {} was learnt with bundle {bundle}; its numbers mean nothing to this one",
        printable::path(&path.display().to_string())
    )]
    OtherBundle {
        /// The file.
        path: PathBuf,
        /// `NAME@VERSION` it was learnt with.
        bundle: String,
    },
    /// A recording that no voice can be learnt from.
    #[error("no voice can be learnt from {}", printable::path(&path.display().to_string()))]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Failure,
    },
    /// Two files for one name.
    #[error("two files are for the voice `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// More than are compared.
    #[error("more than {VOICES_MAX} voices")]
    TooMany,
    /// Nothing there.
    #[error("no voices in {}", printable::path(&path.display().to_string()))]
    None {
        /// The folder.
        path: PathBuf,
    },
}

impl FolderError {
    /// Whether the folder is wrong, not what was done with it.
    #[must_use]
    pub fn is_misuse(&self) -> bool {
        !matches!(self, Self::Recording { .. })
    }

    /// What to try.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreadable { .. } => "`--speakers` takes a folder that this user can read",
            Self::Document { .. } => {
                "a voice is a document that `rollcall speakers enroll` wrote, or a recording named after the person"
            }
            Self::OtherBundle { .. } => {
                "put a recording of the person there instead, or take that bundle: `--bundle`"
            }
            Self::Recording { .. } => {
                "give at least 10 s of this person alone, or take the file out of the folder of `--speakers`"
            }
            Self::Twice { .. } => "keep one of them",
            Self::TooMany => "split the folder",
            Self::None { .. } => "put recordings there, each named after the person who talks: `Ada.wav`",
        };
        vec![hint.to_owned()]
    }
}

/// The voices of a folder: each `NAME.json` is a document, each other file that is not hidden a recording of the person
/// it is named after.
///
/// # Errors
/// The first file that cannot be used.
pub fn of_folder(bench: &Workbench, folder: &Path, watch: &dyn Watch) -> Result<VoiceSet, FolderError> {
    let unreadable = |source| FolderError::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_file() && !hidden {
            files.push(path);
        }
        if files.len() > VOICES_MAX {
            return Err(FolderError::TooMany);
        }
    }
    files.sort();
    let mut voices: Vec<Voice> = Vec::new();
    for path in &files {
        let voice = of_file(bench, path, watch)?;
        if voices.iter().any(|known| known.name == voice.name) {
            return Err(FolderError::Twice { name: voice.name });
        }
        voices.push(voice);
    }
    if voices.is_empty() {
        return Err(FolderError::None { path: folder.to_owned() });
    }
    Ok(VoiceSet { voices, ..VoiceSet::default() })
}

fn of_file(bench: &Workbench, path: &Path, watch: &dyn Watch) -> Result<Voice, FolderError> {
    let document = |source| FolderError::Document { path: path.to_owned(), source };
    if path.extension().is_some_and(|extension| extension == "json") {
        let unreadable = |source| FolderError::Unreadable { path: path.to_owned(), source };
        let mut json = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(voice::BYTES_MAX).read_to_end(&mut json).map_err(unreadable)?;
        let voice = Voice::parse(&json).map_err(document)?;
        if voice.bundle.embedding_sha256 != bench.bundle.manifest.embedding_sha256() {
            let bundle = format!("{}@{}", voice.bundle.name, voice.bundle.version);
            return Err(FolderError::OtherBundle { path: path.to_owned(), bundle });
        }
        return Ok(voice);
    }
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if !voice::is_voice_name(&name) {
        return Err(document(VoiceError::Name));
    }
    let uri = path.to_string_lossy().into_owned();
    let lesson = Lesson { name, audio: vec![(path.to_owned(), uri)], now: String::new() };
    let learnt = enroll(bench, &lesson, watch);
    Ok(learnt.map_err(|source| FolderError::Recording { path: path.to_owned(), source })?.voice)
}
