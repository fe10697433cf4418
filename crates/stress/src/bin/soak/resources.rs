//! What the process uses over time: resident memory, file descriptors, threads.
//!
//! Guarantees: a run that is too short to warm up is not checked for growth, and the answer says so.

use std::fs;

use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_testkit::process;

/// The first part of a run is warm-up, the second is the reference, which the last must not exceed.
const PARTS: usize = 4;
/// With fewer samples, one a second, growth can't be told from warm-up.
const SAMPLES_MIN: usize = 120;
/// The last part may exceed the reference by a tenth and by this much.
const KIB_MORE: u64 = 8 << 10;
const DESCRIPTORS_MORE: u64 = 8;

/// What the process used at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) kib: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Sample {
    pub(crate) fn now() -> Self {
        Sample {
            kib: process::number("self", "VmRSS:"),
            // Without the descriptor of the listing itself.
            descriptors: expect("list", fs::read_dir("/proc/self/fd")).count() as u64 - 1,
            threads: process::number("self", "Threads:"),
        }
    }
}

/// Fails if the last quarter of a run used more than the second one. Returns the figures as text. Of memory the medians
/// count: the most depends on how many large writers happen to live at once, and what leaks stays.
pub(crate) fn check_growth(samples: &[Sample]) -> String {
    let quarter = samples.len() / PARTS;
    if samples.len() < SAMPLES_MIN {
        return format!("growth was not checked: {} s are too short for that", samples.len());
    }
    let median = |mut values: Vec<u64>| {
        values.sort_unstable();
        values[values.len() / 2]
    };
    let most = |values: Vec<u64>| values.into_iter().max().unwrap_or(0);
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let mut words = Vec::new();
    type Of = fn(&Sample) -> u64;
    type Summary = fn(Vec<u64>) -> u64;
    for (what, of, summary, more) in [
        ("KiB resident", (|s| s.kib) as Of, median as Summary, KIB_MORE),
        ("descriptors", |s| s.descriptors, most, DESCRIPTORS_MORE),
    ] {
        let [before, after] = [early, late].map(|part| summary(part.iter().map(of).collect()));
        if after > before + before / 10 + more {
            fail(&format!("{what} grow: {before} in the second quarter, {after} in the last"));
        }
        words.push(format!("{what}: {before} in the second quarter, {after} in the last"));
    }
    words.join("; ")
}
