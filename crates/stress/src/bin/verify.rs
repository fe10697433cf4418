//! Holds the visible files of a `load` against what it said, also if it was killed or its disk was cut off.
//!
//! Usage: verify DIR LOG [--control|--mounted-again]
//!
//! Guarantees: exit code 0 means that each visible file is whole and not empty, that no record is there
//! twice or was never accepted, that all that a successful flush covered is there, and, after a close, as
//! many records as its report says; `--mounted-again` after a fault of the device: no more than that, since
//! a file counts as written once it is renamed, and its name is on the disk only once a flush covers it. With `--control` what is missing is only counted: it shows that the
//! fault was one.

use std::fs;
use std::path::Path;

use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::seen::{Seen, is_visible, list};

/// What the log says.
#[derive(Default)]
struct Said {
    /// Of each producer, how many records a successful flush covered.
    flushed: Vec<u32>,
    flushes: u64,
    accepted: Vec<u32>,
    /// Records written and, beyond them, those in files whose rename had not returned.
    closed: Option<(u64, u64)>,
    errors: u64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let (dir, log, control, mounted_again) = match words[..] {
        [dir, log] => (dir, log, false, false),
        [dir, log, "--control"] => (dir, log, true, true),
        [dir, log, "--mounted-again"] => (dir, log, false, true),
        _ => fail("usage: verify DIR LOG [--control|--mounted-again]"),
    };
    let said = read(&expect("read the log", fs::read_to_string(log)));
    let ready = Path::new(dir).join("ready");
    let mut seen = Seen::default();
    seen.take(&ready, 0, false);
    let mut missing = 0;
    for (producer, &flushed) in (0..).zip(&said.flushed) {
        missing += (0..flushed).filter(|&sequence| !seen.contains(producer, sequence)).count();
    }
    if missing > 0 && !control {
        fail(&format!("{missing} records are gone that were flushed: {:?}", said.flushed));
    }
    for (producer, &accepted) in (0..).zip(&said.accepted) {
        if seen.count_from(producer, accepted) > 0 {
            fail(&format!("more of producer {producer} is visible than {accepted} records"));
        }
    }
    if let Some((written, unresolved)) = said.closed
        && (seen.records > written + unresolved || seen.records < written && !mounted_again)
    {
        fail(&format!("{} records are visible, {written} (+ {unresolved}) said", seen.records));
    }
    let unfinished = list(&Path::new(dir).join("unfinished")).len();
    let hidden = list(&ready).iter().filter(|file| !is_visible(file)).count();
    println!(
        "files {} records {} flushes {} flushed {} missing {missing} errors {} left {}",
        seen.files,
        seen.records,
        said.flushes,
        said.flushed.iter().map(|&count| u64::from(count)).sum::<u64>(),
        said.errors,
        unfinished + hidden
    );
}

fn read(log: &str) -> Said {
    let mut said = Said::default();
    // The last line may be a part of one: its writer was killed.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    for line in whole.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "flushed" => {
                said.flushes += 1;
                pairs(rest, &mut said.flushed);
            }
            "accepted" => pairs(rest, &mut said.accepted),
            "error" => said.errors += 1,
            "closed" => said.closed = Some((number(rest, "written"), number(rest, "unresolved"))),
            _ => {}
        }
    }
    said
}

/// `0:17 1:20`: of each producer a count, the largest of which holds.
fn pairs(text: &str, counts: &mut Vec<u32>) {
    for pair in text.split_whitespace() {
        let (producer, count) = pair.split_once(':').unwrap_or_else(|| fail("a log unlike load's"));
        let (producer, count): (usize, u32) =
            (expect("a number", producer.parse()), expect("a number", count.parse()));
        counts.resize(counts.len().max(producer + 1), 0);
        counts[producer] = counts[producer].max(count);
    }
}

/// The number after a word.
fn number(text: &str, after: &str) -> u64 {
    let mut words = text.split_whitespace().skip_while(|&word| word != after);
    let number = words.nth(1).and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| fail(&format!("no number after {after} in: {text}")))
}
