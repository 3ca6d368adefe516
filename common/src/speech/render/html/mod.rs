//! `timeline.html`: one page that holds everything it needs, works without a network and asks for none.
//!
//! Invariants: text from outside reaches the page only escaped, as markup text or as JSON in which `<` is escaped, and
//! its script never makes markup out of text; the page's own policy allows no script, style or request but its own (by
//! hash) and the one recording. Markup, style and script lie beside this file.

mod base64;

use sha2::{Digest as _, Sha256};

use super::printable::one_line;
use crate::speech::result_document::Document;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "(() => {\n'use strict';\n",
    include_str!("script/model.js"),
    include_str!("script/lanes.js"),
    include_str!("script/list.js"),
    include_str!("script/player.js"),
    include_str!("script/pointer.js"),
    include_str!("script/start.js"),
    "})();\n"
);

/// Recordings up to this size, bytes, are worth putting into the page where the caller has no other wish.
pub const EMBEDDED_BYTES_MAX: u64 = 24 << 20;

/// Where the page finds the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound<'a> {
    /// Inside the page. Whoever calls decides up to which size ([`EMBEDDED_BYTES_MAX`]).
    Embedded {
        /// The file, in an encoding that browsers play.
        bytes: &'a [u8],
        /// Its media type, such as `audio/flac`.
        media_type: &'a str,
    },
    /// Elsewhere: a path relative to the page with `/` between folders (percent-encoded where needed), or an address
    /// beginning with `https:`, `http:` or `file:`. Anything else is [`Sound::Absent`].
    Referenced(&'a str),
    /// Nowhere: the page shows everything and plays nothing.
    Absent,
}

impl<'a> Sound<'a> {
    /// The recording inside the page when it is at hand and at most `embedded_bytes_max` long, else by reference, else
    /// none.
    #[must_use]
    pub fn choose(
        file: Option<(&'a [u8], &'a str)>,
        embedded_bytes_max: u64,
        reference: Option<&'a str>,
    ) -> Self {
        match (file, reference) {
            (Some((bytes, media_type)), _) if bytes.len() as u64 <= embedded_bytes_max => {
                Self::Embedded { bytes, media_type }
            }
            (_, Some(reference)) => Self::Referenced(reference),
            _ => Self::Absent,
        }
    }
}

/// Writes the page. `title` is what the recording is called in front of people, as a rule its file name.
#[must_use]
pub fn write(document: &Document, title: &str, sound: Sound<'_>) -> String {
    let (audio, media_policy) = audio_element(sound);
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; media-src {media_policy}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    let title = escaped(&one_line(title));
    let footer = escaped(&format!(
        "Rollcall · bundle {} {} · {} · audio {}",
        document.bundle.name,
        document.bundle.version,
        document.device,
        document.audio.sha256.chars().take(12).collect::<String>()
    ));
    let data = data(document);
    fill(PAGE, |name| match name {
        "policy" => &policy,
        "title" => &title,
        "footer" => &footer,
        "audio" => &audio,
        "data" => &data,
        "style" => STYLE,
        "script" => SCRIPT,
        other => unreachable!("the template has no place called {other}"),
    })
}

/// Puts values into the places of a template, `{{name}}`, in one pass: what is put in is never looked at again.
fn fill<'a>(template: &str, value: impl Fn(&str) -> &'a str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, tail)| Some((before, tail.split_once("}}")?)))
    {
        out.push_str(before);
        out.push_str(value(name));
        rest = after;
    }
    out + rest
}

/// The element that plays, and what the policy has to allow for it.
fn audio_element(sound: Sound<'_>) -> (String, &'static str) {
    let absent = (String::new(), "'none'");
    let (source, policy) = match sound {
        Sound::Embedded { bytes, media_type } => {
            let media_type = if is_media_type(media_type) { media_type } else { "audio/*" };
            let mut source = format!("data:{media_type};base64,");
            base64::encode_into(&mut source, bytes);
            (source, "data:")
        }
        Sound::Referenced(reference) => match media_policy(reference) {
            Some(policy) => (escaped(reference), policy),
            None => return absent,
        },
        Sound::Absent => return absent,
    };
    (format!("<audio id=\"audio\" preload=\"metadata\" src=\"{source}\"></audio>"), policy)
}

/// What a policy calls the place of a reference; `None` where no browser plays from.
fn media_policy(reference: &str) -> Option<&'static str> {
    let is_plain =
        !reference.is_empty() && !reference.contains(|c: char| c.is_whitespace() || c.is_control());
    let lower = reference.to_ascii_lowercase();
    let before_path = lower.split(['/', '?', '#']).next().unwrap_or("");
    match before_path.split_once(':').map(|(scheme, _)| scheme) {
        _ if !is_plain => None,
        Some("https") => Some("https:"),
        Some("http") => Some("http:"),
        Some("file") => Some("file:"),
        Some(_) => None,
        // Beside the page, which may itself lie on a disk, where a page has no origin of its own.
        None => Some("'self' file:"),
    }
}

/// A media type as it may stand in an attribute: `type/subtype`.
fn is_media_type(text: &str) -> bool {
    let part = |part: &str| {
        (1..=64).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'_'))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| part(kind) && part(subtype))
}

/// The hash of an inline script or style as a policy names it.
fn hash(content: &str) -> String {
    let mut out = String::from("'sha256-");
    base64::encode_into(&mut out, &Sha256::digest(content.as_bytes()));
    out.push('\'');
    out
}

/// Text for markup, inside and outside attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// What the script draws: times in milliseconds, speakers as indices (-1 for nobody), `<` as `\u003c` so that nothing
/// in it ends the element that holds it.
fn data(document: &Document) -> String {
    let index = |label: &str| {
        let found = document.speakers.iter().position(|speaker| speaker == label);
        found.map_or(-1, |index| i64::try_from(index).expect("there are few speakers"))
    };
    let speakers: Vec<serde_json::Value> = document
        .speaker_details
        .iter()
        .map(|detail| {
            serde_json::json!({
                "label": detail.label,
                "name": detail.name.as_deref().map(one_line),
                "speech": detail.speech.get(),
                "count": detail.turns,
                "channel": detail.channel,
            })
        })
        .collect();
    let turns: Vec<(u64, u64, i64)> =
        document.diarization.iter().map(|t| (t.start.get(), t.end.get(), index(&t.speaker))).collect();
    let segments: Option<Vec<(u64, u64, i64, &str)>> = document.has_text().then(|| {
        let segments = document.segments.iter();
        segments
            .map(|s| (s.start.get(), s.end.get(), index(&s.speaker), s.text.as_deref().unwrap_or("")))
            .collect()
    });
    let value = serde_json::json!({
        "duration": document.audio.duration.get(),
        "speakers": speakers,
        "turns": turns,
        "segments": segments,
        "warnings": document.warnings,
    });
    value.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests;
