//! Compares the visible files of a `load` with the log that it printed, also after a kill or a disk failure.
//!
//! Usage: verify DIR LOG [--control|--mounted-again|--enclosed]
//!
//! Guarantees: exit code 0 means that each visible file is whole and not empty. No record is there twice, and
//! none is there that was not accepted. All that a successful flush covered is there. After a close there are
//! as many records as its report says.
//!
//! `--enclosed`: each file has the header and the footer of `load --enclosed yes`.
//!
//! `--mounted-again`, after a fault of the device, permits fewer records than the report of the close says. A
//! file counts as written once it is renamed, but its name is durable only once a flush covers it. `--control`
//! only counts missing records, to show that the fault did destroy something; files may be empty or torn then.

use std::fs;
use std::path::Path;

use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::visible::{Visible, list};
use bufferedwriter_testkit::dir::is_hidden;

/// What the log of `load` says.
#[derive(Default)]
struct Log {
    /// By producer, how many records a successful flush covered.
    flushed: Vec<u32>,
    flushes: u64,
    /// By producer.
    accepted: Vec<u32>,
    /// What the close reported: records written, and records unresolved (in files whose rename had not returned).
    closed: Option<(u64, u64)>,
    errors: u64,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<_> = args.iter().map(String::as_str).collect();
    let mut visible = Visible::new(0);
    let (dir, log_path, control, mounted_again) = match words[..] {
        [dir, log] => (dir, log, false, false),
        [dir, log, "--enclosed"] => {
            visible = visible.enclosed();
            (dir, log, false, false)
        }
        [dir, log, "--control"] => (dir, log, true, true),
        [dir, log, "--mounted-again"] => (dir, log, false, true),
        _ => fail("usage: verify DIR LOG [--control|--mounted-again|--enclosed]"),
    };
    let log = read(&expect("read the log", fs::read_to_string(log_path)));
    let ready = Path::new(dir).join("ready");
    if control {
        // Nothing was synced, so nothing is promised.
        visible.read_damaged_dir(&ready);
    } else {
        visible.read_dir(&ready, false);
    }
    let mut missing = 0;
    for (producer, &flushed) in (0..).zip(&log.flushed) {
        missing += (0..flushed).filter(|&sequence| !visible.contains(producer, sequence)).count();
    }
    if missing > 0 && !control {
        fail(&format!("{missing} records are gone that were flushed: {:?}", log.flushed));
    }
    for (producer, &accepted) in (0..).zip(&log.accepted) {
        if visible.count_from(producer, accepted) > 0 {
            fail(&format!("more of producer {producer} is visible than {accepted} records"));
        }
    }
    let found = visible.found;
    if let Some((written, unresolved)) = log.closed
        && (found.records > written + unresolved || found.records < written && !mounted_again)
    {
        fail(&format!(
            "{} records are visible, the log says {written} (+ {unresolved})",
            found.records
        ));
    }
    let unfinished = list(&Path::new(dir).join("unfinished")).len();
    let hidden = list(&ready).iter().filter(|file| is_hidden(file)).count();
    println!(
        "files {} records {} flushes {} flushed {} missing {missing} errors {} left {}",
        found.files,
        found.records,
        log.flushes,
        log.flushed.iter().map(|&count| u64::from(count)).sum::<u64>(),
        log.errors,
        unfinished + hidden
    );
}

fn read(text: &str) -> Log {
    let mut log = Log::default();
    // The last line may be incomplete, since `load` may have been killed.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "flushed" => {
                log.flushes += 1;
                pairs(rest, &mut log.flushed);
            }
            "accepted" => pairs(rest, &mut log.accepted),
            "error" => log.errors += 1,
            "closed" => log.closed = Some((number(rest, "written"), number(rest, "unresolved"))),
            _ => {}
        }
    }
    log
}

/// Parses `0:17 1:20`, a count for each producer; a producer's largest count holds.
fn pairs(text: &str, counts: &mut Vec<u32>) {
    for pair in text.split_whitespace() {
        let (producer, count) = pair.split_once(':').unwrap_or_else(|| fail("not a log of load"));
        let (producer, count): (usize, u32) =
            (expect("a number", producer.parse()), expect("a number", count.parse()));
        counts.resize(counts.len().max(producer + 1), 0);
        counts[producer] = counts[producer].max(count);
    }
}

/// The number that follows a word.
fn number(text: &str, after: &str) -> u64 {
    let mut words = text.split_whitespace().skip_while(|&word| word != after);
    let number = words.nth(1).and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| fail(&format!("no number after {after} in: {text}")))
}
