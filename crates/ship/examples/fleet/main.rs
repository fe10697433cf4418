//! What many hosts ask of a store: requests, cost, sizes, delays, and an hour without the store.
//!
//! Usage: `cargo run --release --example fleet [SVG]`. The same numbers each time: no clock, one seed. `SVG` gets a plot.
//! The shipper's own pauses and windows decide (`src/pace.rs`); hosts, disks and the store are imitated.

#[path = "../../src/pace.rs"]
#[allow(dead_code, reason = "the shipper uses the rest")]
mod pace;

mod fleet;
mod plot;
mod store;

use fleet::{Fleet, Outcome, Pauses, Scenario};

/// US dollars for a thousand requests, as S3 Standard lists them for us-east-1.
const WRITES_COST: f64 = 0.005 / 1000.0;
const HEADS_COST: f64 = 0.0004 / 1000.0;
const HOUR: f64 = 3600.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    steady();
    ages();
    sizes_of_parts();
    at_the_clock();
    let curves = away();
    if let Some(svg) = std::env::args().nth(1) {
        plot::draw(svg.as_ref(), HOUR + 600.0, &curves)?;
    }
    Ok(())
}

/// Prints a table's head, with the columns of [`row`].
fn head(title: &str, first: &str) {
    println!("\n{title}\n");
    println!(
        "| {first} | objects/s | MB each | attempts/s | most in 1 s | refused, % | USD/TB | to query, s | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

fn row(name: &str, scenario: &Scenario) -> Outcome {
    let outcome = Fleet::run(scenario);
    let Outcome { requests, ref attempts, stored, bytes, record_bytes, median, p99, .. } = outcome;
    let cost = requests.writes as f64 * WRITES_COST + requests.heads as f64 * HEADS_COST;
    let all: u64 = attempts.iter().map(|&second| u64::from(second)).sum();
    println!(
        "| {name} | {:.1} | {:.1} | {:.1} | {} | {:.2} | {:.3} | {median:.0} | {p99:.0} |",
        stored as f64 / scenario.time,
        bytes as f64 / stored as f64 / 1e6,
        all as f64 / scenario.time,
        attempts.iter().max().unwrap_or(&0),
        100.0 * requests.refused as f64 / all as f64,
        cost / (record_bytes / 1e12),
    );
    outcome
}

fn steady() {
    head("With the defaults, half an hour:", "hosts, MB/s of records each");
    for hosts in [1000, 10_000] {
        for megabytes_per_second in [1.0, 10.0, 100.0] {
            let scenario = Scenario { hosts, megabytes_per_second, ..Scenario::default() };
            row(&format!("{hosts}, {megabytes_per_second}"), &scenario);
        }
    }
}

fn ages() {
    head("10,000 hosts at 1 MB/s, half an hour, by the age at which a file ends:", "`file_age`, s");
    for file_age in [5.0, 15.0, 60.0, 300.0, 900.0] {
        let hosts = 10_000;
        let scenario =
            Scenario { hosts, megabytes_per_second: 1.0, file_age, ..Scenario::default() };
        row(&format!("{file_age}"), &scenario);
    }
}

fn sizes_of_parts() {
    head(
        "10,000 hosts at 100 MB/s, five minutes, with files of 128 MiB:",
        "in parts of, prefixes at a time",
    );
    let all =
        Scenario { hosts: 10_000, megabytes_per_second: 100.0, time: 300.0, ..Scenario::default() };
    for (name, multipart, part, prefixes) in [
        ("8 MiB, 1", 16 << 20, 8 << 20, 1),
        ("16 MiB, 1", 16 << 20, 16 << 20, 1),
        ("64 MiB, 1", 16 << 20, 64 << 20, 1),
        ("one request, 1", u64::MAX, 16 << 20, 1),
        ("16 MiB, 4", 16 << 20, 16 << 20, 4),
    ] {
        row(name, &Scenario { multipart, part, prefixes, ..all.clone() });
    }
}

fn at_the_clock() {
    head("10,000 hosts at 1 MB/s, a file a minute, ten minutes:", "files end");
    let all = Scenario {
        hosts: 10_000,
        megabytes_per_second: 1.0,
        file_age: 60.0,
        time: 600.0,
        ..Scenario::default()
    };
    row("at any second", &all);
    row("at the minute", &Scenario { at_the_clock: true, ..all });
}

/// Returns the attempts in each second, by who waits after an error.
fn away() -> Vec<(&'static str, Vec<u32>)> {
    println!("\nThe store is away for an hour, a file a minute:\n");
    println!(
        "| hosts, MB/s each, who waits after an error | attempts/s meanwhile | most in 1 s after | refused, % of those | disk for each host, MB | catches up in, s |"
    );
    println!("|---|---|---|---|---|---|");
    const FILE: (&str, Pauses) = ("the file", Pauses::OfFile);
    const STEADY: (&str, Pauses) = ("the host, without jitter", Pauses::WithoutJitter);
    const HOST: (&str, Pauses) = ("the host", Pauses::OfHost);
    let mut curves = Vec::new();
    for (hosts, megabytes_per_second, all) in [
        (1000, 10.0, &[FILE, STEADY, HOST][..]),
        (10_000, 1.0, &[FILE, STEADY, HOST]),
        (10_000, 10.0, &[HOST]),
    ] {
        for &(name, pauses) in all {
            let scenario = Scenario {
                hosts,
                megabytes_per_second,
                file_age: 60.0,
                away: 600.0..600.0 + HOUR,
                time: 600.0 + HOUR + 1800.0,
                pauses,
                ..Scenario::default()
            };
            let outcome = Fleet::run(&scenario);
            away_row(&format!("{hosts}, {megabytes_per_second}, {name}"), &outcome);
            if (hosts, megabytes_per_second) == (10_000, 1.0) {
                curves.push((name, outcome.attempts));
            }
        }
    }
    curves
}

fn away_row(name: &str, outcome: &Outcome) {
    let (begin, end) = (600, 600 + HOUR as usize);
    let after = &outcome.attempts[end..];
    let all: u64 = after.iter().map(|&second| u64::from(second)).sum();
    let meanwhile: u64 =
        outcome.attempts[begin + 60..end].iter().map(|&second| u64::from(second)).sum();
    println!(
        "| {name} | {:.0} | {} | {:.1} | {:.0} | {:.0} |",
        meanwhile as f64 / (HOUR - 60.0),
        after.iter().max().unwrap_or(&0),
        100.0 * outcome.requests.refused as f64 / all as f64,
        outcome.waiting_bytes as f64 / 1e6,
        outcome.catch_up,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(pauses: Pauses) -> Outcome {
        let away = 300.0..900.0;
        Fleet::run(&Scenario { hosts: 50, file_age: 20.0, away, pauses, ..Scenario::default() })
    }

    #[test]
    fn each_file_is_stored_once_and_the_same_seed_gives_the_same_numbers() {
        for pauses in [Pauses::OfFile, Pauses::OfHost, Pauses::WithoutJitter] {
            let outcome = small(pauses);
            assert!(outcome.files > 50 * 80 && outcome.files == outcome.stored, "{outcome:?}");
            assert_eq!(outcome, small(pauses));
        }
    }

    #[test]
    fn a_fleet_that_waits_as_hosts_asks_less_of_a_store_that_is_away() {
        let [files, hosts] = [Pauses::OfFile, Pauses::OfHost].map(small);
        assert!(hosts.requests.away * 4 < files.requests.away, "{hosts:?} {files:?}");
        assert!(hosts.catch_up < 90.0, "{}", hosts.catch_up);
    }
}
