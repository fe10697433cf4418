//! A soak test: for a given time, writers with random options come and go, with threads that write to them by
//! every call. The file system injects faults and loses directories. Meanwhile visible files are checked and
//! deleted.
//!
//! Guarantees: exit code 0 means that each accepted record was in exactly one visible file, whole, or was
//! counted as lost. No call hung, each message was dropped once, and neither memory nor descriptors nor threads
//! grew. A seed repeats the choices, not the interleavings.
//!
//! Layers, each may use those below it:
//!
//! - `main`
//! - `runner`, one writer after the other; `resources`, what the process uses
//! - `caller`, a thread that writes; `faulty_fs`, the injected faults
//! - `hooked`, a file system behind a hook, which the library's own tests have too

mod caller;
mod faulty_fs;
#[path = "../../../../../src/tests/fs/hooked.rs"]
mod hooked;
mod resources;
mod runner;

use std::path::PathBuf;
use std::process::exit;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::testing;
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::message;
use bufferedwriter_testkit::random::mix;
use bufferedwriter_testkit::wait::{BOUND, holds_within};

use resources::Sample;
use runner::{NAMES, Plan, Runner};

const USAGE: &str = "\
Usage: soak [--seconds N] [--seed S] [--dir D] [--callers N] [--recorders]
  --seconds N   how long (default 60)
  --seed S      seed of all random choices (default: from the clock)
  --dir D       parent of all directories (default: the system's temp directory)
  --callers N   threads of each writer (default: up to four)
  --recorders   all writers are flight recorders, rather than one in four";

/// Each has one writer at a time.
static RUNNERS: [Runner; 3] = [const { Runner::new() }; 3];

const REPORT_SECONDS: usize = 10;

fn main() {
    let args = Args::parse();
    let dir = args.dir.join(format!("bufferedwriter-soak-{}", std::process::id()));
    expect("create a directory", std::fs::create_dir_all(&dir));
    println!("soak: {} s, seed {}, in {}", args.seconds, args.seed, dir.display());
    let (before, began) = (Sample::now(), Instant::now());
    let until = began + Duration::from_secs(args.seconds);
    let threads: Vec<_> = (0..)
        .zip(&RUNNERS)
        .map(|(first, runner)| {
            let (dir, seed) = (dir.clone(), mix(args.seed ^ mix(u64::from(first))));
            let (plan, step) = (args.plan, RUNNERS.len() as u32);
            let body = move || runner::run(runner, &dir, plan, seed, (first, step), until);
            expect("start a thread", thread::Builder::new().spawn(body))
        })
        .collect();
    let mut samples = Vec::new();
    while Instant::now() < until {
        thread::sleep(Duration::from_secs(1).min(until - Instant::now().min(until)));
        samples.push(Sample::now());
        if samples.len() % REPORT_SECONDS == 0 {
            report(began, &samples);
        }
    }
    for thread in threads {
        thread.join().unwrap_or_else(|_| fail("a runner panicked"));
    }
    let after = settle(before);
    report(began, &samples);
    println!("soak: before {before:?}, after {after:?}; {}", resources::check_growth(&samples));
    println!("soak: {} messages, each dropped once", message::expect_all_dropped());
    expect("remove a directory", std::fs::remove_dir(&dir));
    println!("soak: {} s with seed {}: all accounts balance", args.seconds, args.seed);
}

/// Waits until the workers of writers whose close timed out have ended, and closed their files.
fn settle(before: Sample) -> Sample {
    let mut now = Sample::now();
    let is_over = || {
        now = Sample::now();
        let ended = now.threads <= before.threads && now.descriptors <= before.descriptors;
        ended && message::alive() == 0
    };
    if !holds_within(BOUND, is_over) {
        fail(&format!("left at the end: {now:?}, {} messages", message::alive()));
    }
    now
}

fn report(began: Instant, samples: &[Sample]) {
    let sum = |of: fn(&Runner) -> &std::sync::atomic::AtomicU64| -> u64 {
        RUNNERS.iter().map(|runner| of(runner).load(Relaxed)).sum()
    };
    let lately = &samples[samples.len().saturating_sub(REPORT_SECONDS)..];
    let most = |of: fn(&Sample) -> u64| lately.iter().map(of).max().unwrap_or(0);
    let counts: Vec<_> = (0..NAMES.len())
        .map(|i| {
            let count: u64 = RUNNERS.iter().map(|runner| runner.totals.0[i].load(Relaxed)).sum();
            format!("{} {count}", NAMES[i])
        })
        .collect();
    println!(
        "{:5.0} s: {}; faults: {} errors, {} short, {} slow, {} hangs; {} KiB, {} descriptors, {} threads",
        began.elapsed().as_secs_f64(),
        counts.join(", "),
        sum(|runner| &runner.faults.errors),
        sum(|runner| &runner.faults.shorts),
        sum(|runner| &runner.faults.slow),
        sum(|runner| &runner.faults.hangs),
        most(|s| s.kib),
        most(|s| s.descriptors),
        most(|s| s.threads),
    );
}

struct Args {
    seconds: u64,
    seed: u64,
    dir: PathBuf,
    plan: Plan,
}

impl Args {
    fn parse() -> Args {
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
        let seed = clock as u64 % 1_000_000_000;
        let mut args = Args { seconds: 60, seed, dir: std::env::temp_dir(), plan: Plan::default() };
        let mut given = std::env::args().skip(1);
        while let Some(option) = given.next() {
            if option == "--recorders" {
                args.plan.recorders = true;
                continue;
            }
            let Some(value) = given.next() else { refuse() };
            let number = || value.parse().unwrap_or_else(|_| refuse());
            match option.as_str() {
                "--seconds" => args.seconds = number(),
                "--seed" => args.seed = number(),
                "--dir" => args.dir = value.into(),
                "--callers" => args.plan.callers = Some(number() as usize),
                _ => refuse(),
            }
        }
        args
    }
}

fn refuse() -> ! {
    eprintln!("{USAGE}");
    exit(2)
}
