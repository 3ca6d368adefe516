//! A day of bursty load, scaled by our policy, by nobody, and by the number of messages: figures on stdout, `scaling_day.csv`
//! and `scaling_day.svg` in the folder that is named.
//!
//! usage: `cargo run --example scaling_day -- FOLDER`
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

use std::path::PathBuf;

use anyhow::Context as _;
use common::scaling::ScalingRules;
use tests::scaling::{CAPACITY, Controller, Lengths, Outcome, csv, day, run, svg};

const SEED: u64 = 1;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from).context("usage: scaling_day FOLDER")?;
    let arrivals = day(SEED);
    let audio_h = arrivals.iter().map(|arrival| arrival.audio_s).sum::<f64>() / 3600.0;
    let mean = audio_h / 24.0 / CAPACITY;
    println!("{} jobs, {audio_h:.0} h of audio: {mean:.1} workers' work on average", arrivals.len());
    println!(
        "| fleet | waits: half, 95 %, longest | looks at which the oldest was above the bound | machine hours | changes, flaps |"
    );
    println!("| --- | --- | --- | --- | --- |");
    let bound_s = ScalingRules::default().age_max.as_secs();
    let told = |name: &str, outcome: &Outcome| {
        let above = outcome.samples.iter().filter(|sample| sample.oldest_s > bound_s).count();
        println!(
            "| {name} | {} s, {} s, {} s | {above} of {} | {:.0} | {}, {} |",
            outcome.wait_s(0.5),
            outcome.wait_s(0.95),
            outcome.wait_s(1.0),
            outcome.samples.len(),
            outcome.machine_hours,
            outcome.changes,
            outcome.flaps
        );
    };
    let known = run(&arrivals, &mut Controller::policy(), Lengths::Known);
    told("policy, lengths known", &known);
    let guessed = run(&arrivals, &mut Controller::policy(), Lengths::Guessed);
    told("policy, lengths guessed by size", &guessed);
    let unknown = run(&arrivals, &mut Controller::policy(), Lengths::Unknown);
    told("policy, lengths unknown", &unknown);
    for workers in [7, 12, 20, 40] {
        told(&format!("fixed, {workers}"), &run(&arrivals, &mut Controller::fixed(workers), Lengths::Known));
    }
    for each in [5, 20, 100] {
        let messages = run(&arrivals, &mut Controller::messages(each), Lengths::Known);
        told(&format!("messages, {each} a worker"), &messages);
    }
    let fixed = run(&arrivals, &mut Controller::fixed(7), Lengths::Known);
    let messages = run(&arrivals, &mut Controller::messages(20), Lengths::Known);
    let fleets =
        [("policy", &guessed), ("policy_blind", &unknown), ("fixed_7", &fixed), ("messages_20", &messages)];
    std::fs::write(folder.join("scaling_day.csv"), csv(&fleets))?;
    std::fs::write(folder.join("scaling_day.svg"), svg(&fleets, bound_s))?;
    Ok(())
}
