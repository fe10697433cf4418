//! A soak: for a given time, writers with random options come and go, and threads that write to them in
//! every way, on a file system that fails, writes less, takes its time, hangs, and loses directories,
//! while a reader checks and deletes what becomes visible.
//!
//! Guarantees: exit code 0 means that of each writer every accepted record was in exactly one visible
//! file, whole, or counted as lost; that no call hung; that each message was dropped once; and that
//! neither memory nor descriptors nor threads grew. A seed repeats the choices, not the interleavings.

mod faults;
mod lane;
mod process;
mod seat;

use std::path::PathBuf;
use std::process::exit;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::message;
use bufferedwriter_stress::random::mix;

use lane::{Lane, NAMES};
use process::Sample;

const USAGE: &str = "\
Usage: soak [--seconds N] [--seed S] [--dir D]
  --seconds N   how long (default 60)
  --seed S      of all random choices (default: another one each time)
  --dir D       where directories are made (default: the system's temp directory)";

/// Writers that are alive at the same time.
static LANES: [Lane; 3] = [const { Lane::new() }; 3];

/// Longer than anything takes; only a fault reaches it.
const BOUND: Duration = Duration::from_secs(60);
const REPORT_SECONDS: usize = 10;

fn main() {
    let args = Args::parse();
    let dir = args.dir.join(format!("bufferedwriter-soak-{}", std::process::id()));
    expect("create a directory", std::fs::create_dir_all(&dir));
    println!("soak: {} s, seed {}, in {}", args.seconds, args.seed, dir.display());
    let (before, began) = (Sample::now(), Instant::now());
    let until = began + Duration::from_secs(args.seconds);
    let lanes: Vec<_> = (0..)
        .zip(&LANES)
        .map(|(first, lane)| {
            let (dir, seed) = (dir.clone(), mix(args.seed ^ mix(u64::from(first))));
            let body = move || lane::run(lane, &dir, seed, (first, LANES.len() as u32), until);
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
    for lane in lanes {
        lane.join().unwrap_or_else(|_| fail("a lane panicked"));
    }
    let after = settle(before);
    report(began, &samples);
    println!("soak: before {before:?}, after {after:?}; {}", process::judge(&samples));
    println!("soak: {} messages, each dropped once", message::expect_all_dropped());
    expect("remove a directory", std::fs::remove_dir(&dir));
    println!("soak: {} s with seed {}: all accounts balance", args.seconds, args.seed);
}

/// Workers of writers that gave up end a little later, and so do their files and messages.
fn settle(before: Sample) -> Sample {
    let deadline = Instant::now() + BOUND;
    loop {
        let now = Sample::now();
        let gone = now.threads <= before.threads && now.descriptors <= before.descriptors;
        if gone && message::alive() == 0 {
            return now;
        }
        if Instant::now() > deadline {
            fail(&format!("left at the end: {now:?}, {} messages", message::alive()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn report(began: Instant, samples: &[Sample]) {
    let sum = |of: fn(&Lane) -> &std::sync::atomic::AtomicU64| -> u64 {
        LANES.iter().map(|lane| of(lane).load(Relaxed)).sum()
    };
    let lately = &samples[samples.len().saturating_sub(REPORT_SECONDS)..];
    let most = |of: fn(&Sample) -> u64| lately.iter().map(of).max().unwrap_or(0);
    let counts: Vec<_> = (0..NAMES.len())
        .map(|i| {
            let count: u64 = LANES.iter().map(|lane| lane.totals.0[i].load(Relaxed)).sum();
            format!("{} {count}", NAMES[i])
        })
        .collect();
    println!(
        "{:5.0} s: {}; faults: {} errors, {} short, {} slow, {} hangs; {} KiB, {} descriptors, {} threads",
        began.elapsed().as_secs_f64(),
        counts.join(", "),
        sum(|lane| &lane.weather.errors),
        sum(|lane| &lane.weather.shorts),
        sum(|lane| &lane.weather.slow),
        sum(|lane| &lane.weather.hangs),
        most(|s| s.kib),
        most(|s| s.descriptors),
        most(|s| s.threads),
    );
}

struct Args {
    seconds: u64,
    seed: u64,
    dir: PathBuf,
}

impl Args {
    fn parse() -> Args {
        let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
        let seed = clock as u64 % 1_000_000_000;
        let mut args = Args { seconds: 60, seed, dir: std::env::temp_dir() };
        let mut given = std::env::args().skip(1);
        while let Some(option) = given.next() {
            let Some(value) = given.next() else { refuse() };
            let number = || value.parse().unwrap_or_else(|_| refuse());
            match option.as_str() {
                "--seconds" => args.seconds = number(),
                "--seed" => args.seed = number(),
                "--dir" => args.dir = value.into(),
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
