//! Known voices: table and JSON.

use serde::Serialize;

use super::json_line;
use super::table::Table;
use crate::command::speakers::Known;

/// Columns that a name keeps.
const NAME_WIDTH_MIN: usize = 12;
/// Columns that the last one keeps: a time, as it is written. What is wrong with a voice stands there too, at any length.
const LEARNT_WIDTH_MIN: usize = 24;

/// A known voice as JSON.
#[derive(Serialize)]
struct KnownDocument<'a> {
    name: &'a str,
    bundle: &'a str,
    version: Option<&'a str>,
    speech_s: Option<f64>,
    recordings: Option<usize>,
    created_at: Option<&'a str>,
    problem: Option<&'a str>,
}

impl<'a> KnownDocument<'a> {
    fn new(Known { bundle, name, voice }: &'a Known) -> Self {
        let heard = voice.as_ref().ok();
        Self {
            name,
            bundle,
            version: heard.map(|voice| voice.bundle.version.as_str()),
            speech_s: heard.map(|voice| voice.speech_s),
            recordings: heard.map(|voice| voice.recordings),
            created_at: heard.map(|voice| voice.created_at.as_str()),
            problem: voice.as_ref().err().map(String::as_str),
        }
    }
}

/// The voices as a JSON array in one line.
#[must_use]
pub fn list_json(known: &[Known]) -> String {
    json_line(&known.iter().map(KnownDocument::new).collect::<Vec<_>>())
}

/// The voices as a table.
#[must_use]
pub fn list(known: &[Known], width: Option<usize>) -> String {
    let header = ["name", "bundle", "speech", "recordings", "learnt"];
    let mut table =
        Table::new(&header).flexible(0, NAME_WIDTH_MIN).flexible(4, LEARNT_WIDTH_MIN).number(2).number(3);
    for Known { bundle, name, voice } in known {
        let cells = match voice {
            Ok(voice) => [
                format!("{bundle}@{}", voice.bundle.version),
                format!("{:.1} s", voice.speech_s),
                voice.recordings.to_string(),
                voice.created_at.clone(),
            ],
            Err(problem) => [bundle.clone(), String::new(), String::new(), problem.clone()],
        };
        let [bundle, speech, recordings, learnt] = cells;
        table.row([name.clone(), bundle, speech, recordings, learnt]);
    }
    table.render(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_voice_gives_way_to_the_terminal() {
        let voice = Err("malformed: ".repeat(20));
        let known = Known { bundle: "starter".to_owned(), name: "Ada".to_owned(), voice };
        let widest =
            |width| list(std::slice::from_ref(&known), width).lines().map(|line| line.chars().count()).max();
        assert!(widest(None) > Some(200));
        assert_eq!(widest(Some(80)), Some(80));
    }
}
