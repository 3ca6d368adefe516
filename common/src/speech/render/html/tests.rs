use super::*;
use crate::speech::render::example;

/// Text that would be markup, a script, the end of a script, or a place of the template.
const HOSTILE: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{data}}<!--";

fn hostile_page() -> String {
    let mut document = example::with_transcript();
    document.segments[0].text = Some(HOSTILE.into());
    document.speaker_details[1].name = Some(HOSTILE.into());
    document.warnings = vec![HOSTILE.into()];
    document.bundle.version = HOSTILE.into();
    document.audio.uri = HOSTILE.into();
    write(&document, HOSTILE, Sound::Absent)
}

#[test]
fn text_from_outside_stays_text() {
    let page = hostile_page();
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<img"));
    assert!(!page.contains("<!--"));
    assert!(page.contains("<h1 dir=\"auto\">&lt;/script&gt;&lt;script&gt;alert(1)"));
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (data, _) = rest.split_once("</script>").unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["segments"][0][3], HOSTILE);
    assert_eq!(data["warnings"][0], HOSTILE);
    assert_eq!(data["speakers"][1]["name"], HOSTILE);
}

#[test]
fn the_policy_knows_exactly_what_is_in_the_page() {
    let page = hostile_page();
    let between = |from: &str, to: &str| page.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let policy = between("Content-Security-Policy\" content=\"", "\"");
    assert!(policy.starts_with("default-src 'none'; "));
    assert!(policy.contains(&format!("script-src {};", hash(between("<script>", "</script>")))));
    assert!(policy.contains(&format!("style-src {};", hash(between("<style>", "</style>")))));
    assert!(policy.contains("media-src 'none';"));
    assert!(!policy.contains("unsafe"));
}

/// No element or style asks for anything outside, and the script uses nothing that makes markup or code out of text.
#[test]
fn the_page_needs_nothing_and_runs_no_text() {
    for word in [
        "http:",
        "https:",
        "url(",
        "@import",
        "src=",
        "href=\"/",
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
        "style=\"",
    ] {
        assert!(!SCRIPT.contains(word) && !STYLE.contains(word) && !PAGE.contains(word), "{word}");
    }
    assert!(!SCRIPT.contains("</"));
    assert!(!STYLE.contains("</"));
}

#[test]
fn speakers_and_turns_are_numbers() {
    let page = write(&example::with_transcript(), "call.m4a", Sound::Absent);
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let data: serde_json::Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["turns"], serde_json::json!([[0, 2_800, 0], [2_500, 6_000, 1], [8_000, 9_250, 0]]));
    assert_eq!(data["segments"][2], serde_json::json!([6_500, 7_000, -1, "(door)"]));
    assert_eq!(
        data["speakers"][1],
        serde_json::json!({"label": "SPEAKER_01", "name": "Zoë", "speech": 3_500, "count": 1, "channel": null})
    );
    let silent = write(&example::without_transcript(), "call.m4a", Sound::Absent);
    assert!(silent.contains("\"segments\":null"));
}

#[test]
fn sound_is_embedded_up_to_the_limit() {
    let file = Some((&b"foobar"[..], "audio/flac"));
    let inside = Sound::Embedded { bytes: b"foobar", media_type: "audio/flac" };
    assert_eq!(Sound::choose(file, 6, Some("a.flac")), inside);
    assert_eq!(Sound::choose(file, 5, Some("a.flac")), Sound::Referenced("a.flac"));
    assert_eq!(Sound::choose(file, 5, None), Sound::Absent);
    assert_eq!(Sound::choose(None, 5, None), Sound::Absent);
    let page = write(&example::without_transcript(), "a", inside);
    assert!(page.contains(
        "<audio id=\"audio\" preload=\"metadata\" src=\"data:audio/flac;base64,Zm9vYmFy\"></audio>"
    ));
    assert!(page.contains("media-src data:;"));
    let strange = Sound::Embedded { bytes: b"x", media_type: "text/html\" onerror=\"x" };
    assert!(audio_element(strange).0.contains("src=\"data:audio/*;base64,eA==\""));
}

#[test]
fn references_are_paths_or_addresses() {
    for (reference, policy) in [
        ("../a%20b.flac", Some("'self' file:")),
        ("a.flac", Some("'self' file:")),
        ("folder/a:b.flac", Some("'self' file:")),
        ("https://host/a?b=c:d", Some("https:")),
        ("HTTP://host/a", Some("http:")),
        ("file:///data/a.flac", Some("file:")),
        ("javascript:alert(1)", None),
        ("s3://bucket/a.flac", None),
        ("data:text/html,x", None),
        ("java\nscript:alert(1)", None),
        ("", None),
    ] {
        assert_eq!(media_policy(reference), policy, "{reference}");
    }
    let (element, _) = audio_element(Sound::Referenced("a\"onerror='x'&.flac"));
    assert!(element.ends_with("src=\"a&quot;onerror=&#39;x&#39;&amp;.flac\"></audio>"), "{element}");
}
