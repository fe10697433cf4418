//! Measure 4: records as fast as the subject accepts them, until they are in files, whose lines are then checked.
//! Compared with the disk's own speed, which is measured again before each round.
//!
//! Guarantees: each row has a process of its own and starts while the disk has nothing left to write; its files
//! are removed. All subjects get the same numbered lines, see `lines`.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args::seconds;
use super::child::{self, Start};
use crate::bench::{Bench, Entry};
use crate::measure::lines::{self, Checked, Numbered};
use crate::report::{Landed, LandedRow, Report};
use crate::stats::median;
use crate::subject::{Writer, landed};
use crate::system::disk::{self, Speed};
use crate::system::page_cache;
use crate::system::process::{self, MemoryGuard};

const MEASURE: &str = "landed";
/// How long a subject may take to write what is in memory at the end.
const FINISH: Duration = Duration::from_secs(60);
/// How long checking the files may take.
const CHECK: Duration = Duration::from_secs(600);
/// Records between two looks at the clock.
const STRIDE: u64 = 64;
const MB: f64 = 1e6;
const MIB: f64 = (1 << 20) as f64;

/// The options.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// GiB of accepted records after which a round ends [default: 10]
    #[arg(long, value_name = "GIB", value_parser = gib)]
    gib: Option<f64>,

    /// Seconds after which it ends at the latest [default: 30]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,

    /// Bytes of a record [default: 128]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(lines::RECORD_BYTES_MIN as i64..))]
    record: Option<u32>,

    /// Threads that write [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=lines::THREADS_MAX as i64))]
    threads: Option<u16>,

    /// Rounds, of which each row is the median [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
}

fn gib(text: &str) -> Result<f64, String> {
    let gib: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.001..=1e6).contains(&gib) { Ok(gib) } else { Err("not between 0.001 and 1000000".into()) }
}

/// The options with their defaults filled in.
#[derive(Clone, Copy)]
struct Plan {
    bytes_max: u64,
    seconds_max: f64,
    record_bytes: usize,
    threads: usize,
    rounds: usize,
}

/// One round of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    start: Start,
    bytes_max: u64,
    seconds_max: f64,
    threads: usize,
}

impl child::Job for Job {
    const KIND: &'static str = MEASURE;
    type Answer = Measured;

    fn run(&self) -> io::Result<Measured> {
        row(self)
    }
}

/// What a child measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Measured {
    accepted: u64,
    landed_bytes: u64,
    /// Until the subject said that it was done.
    seconds: f64,
    /// Until all files were on the disk.
    synced_seconds: f64,
    /// When the subject said that it was done.
    cached: page_cache::Cached,
    checked: Checked,
}

pub fn run(bench: &Bench, report: &mut Report, options: &Options) {
    match measure(bench, report, options) {
        Ok(landed) => report.measures.landed = Some(landed),
        Err(error) => report.skip(MEASURE, "all", &error.to_string()),
    }
}

fn measure(bench: &Bench, report: &mut Report, options: &Options) -> io::Result<Landed> {
    let plan = plan(bench, options, process::free_bytes(bench.dir())?);
    let entries = bench.landing_entries();
    let (mut measured, mut speeds) = (vec![Vec::new(); entries.len()], Vec::new());
    for round in 0..plan.rounds {
        process::sync_file_system(bench.dir())?;
        let disk = disk::measure(bench.dir(), bench.full_or_quick(3, 1), Duration::from_secs(1))?;
        eprintln!("{MEASURE}: the disk does {:.0} MB/s: {}", disk.mb_per_s(), disk.method());
        speeds.push(disk.mb_per_s());
        for turn in 0..entries.len() {
            let at = (turn + round) % entries.len();
            let entry = entries[at];
            eprintln!("{MEASURE}: {}, round {} of {}", entry.name(), round + 1, plan.rounds);
            match measure_one(bench, entry, plan) {
                Ok(row) => measured[at].push((row, disk.clone())),
                Err(error) => report.skip(MEASURE, entry.name(), &error.to_string()),
            }
        }
    }
    let disk_mb_per_s = median(speeds).unwrap_or(0.0);
    report.machine.disk_mb_per_s.get_or_insert(disk_mb_per_s);
    let rows = entries.iter().zip(&measured).filter_map(|(entry, rounds)| reported(*entry, rounds));
    Ok(Landed {
        record_bytes: plan.record_bytes as u64,
        bytes_max: plan.bytes_max,
        seconds_max: plan.seconds_max,
        threads: plan.threads as u64,
        rounds: plan.rounds as u64,
        disk_mb_per_s,
        rows: rows.collect(),
    })
}

fn plan(bench: &Bench, options: &Options, free_bytes: u64) -> Plan {
    let gib = options.gib.unwrap_or(bench.full_or_quick(10.0, 0.25));
    Plan {
        bytes_max: affordable_bytes((gib * f64::from(1 << 30)) as u64, free_bytes),
        seconds_max: options.seconds.unwrap_or(bench.full_or_quick(30.0, 5.0)),
        record_bytes: options.record.unwrap_or(128) as usize,
        threads: options.threads.unwrap_or(1).into(),
        rounds: options.rounds.unwrap_or(bench.full_or_quick(3, 1)).into(),
    }
}

/// What was asked for, or less, so that a fifth of the free space stays free.
fn affordable_bytes(asked: u64, free_bytes: u64) -> u64 {
    let affordable = free_bytes / 5 * 4;
    if affordable < asked {
        eprintln!("{MEASURE}: the disk has room for {:.0} MB only", affordable as f64 / MB);
    }
    asked.min(affordable)
}

fn measure_one(bench: &Bench, entry: Entry, plan: Plan) -> io::Result<Measured> {
    // What earlier rounds left must not slow this one.
    process::sync_file_system(bench.dir())?;
    let scratch = bench.scratch();
    let Plan { bytes_max, seconds_max, threads, .. } = plan;
    let start = Start::new(entry, &scratch, plan.record_bytes);
    let job = Job { start, bytes_max, seconds_max, threads };
    let timeout = Duration::from_secs_f64(seconds_max) + 2 * FINISH + CHECK;
    child::answer(&job, timeout)
}

/// A row of the table, from the rounds that did not fail.
fn reported(entry: Entry, rounds: &[(Measured, Speed)]) -> Option<LandedRow> {
    let over_rounds = |value: &dyn Fn(&Measured, &Speed) -> f64| {
        median(rounds.iter().map(|(row, disk)| value(row, disk)).collect())
    };
    let sum = |value: &dyn Fn(&Measured) -> u64| rounds.iter().map(|(row, _)| value(row)).sum();
    let speed = |row: &Measured| row.landed_bytes as f64 / row.seconds;
    let synced = |row: &Measured| row.landed_bytes as f64 / row.synced_seconds;
    let dirty = rounds.iter().filter_map(|(row, _)| row.cached.dirty_bytes).max();
    Some(LandedRow {
        subject: entry.name().into(),
        buffer_bytes: entry.buffers.buffer_bytes as u64,
        memory_bytes: entry.buffers.memory_bytes as u64,
        mb_per_s: over_rounds(&|row, _| speed(row) / MB)?,
        fraction_of_disk: over_rounds(&|row, disk| speed(row) / disk.bytes_per_s)?,
        synced_mb_per_s: over_rounds(&|row, _| synced(row) / MB)?,
        synced_fraction_of_disk: over_rounds(&|row, disk| synced(row) / disk.bytes_per_s)?,
        complete: rounds.iter().all(|(row, _)| row.checked.complete(row.accepted)),
        accepted_records: sum(&|row| row.accepted),
        landed_records: sum(&|row| row.checked.records),
        files: sum(&|row| row.checked.files),
        seconds: rounds.iter().map(|(row, _)| row.seconds).sum(),
        page_cache_mib: rounds.iter().map(|(row, _)| row.cached.bytes).max()? as f64 / MIB,
        page_cache_dirty_mib: dirty.map(|bytes| bytes as f64 / MIB),
    })
}

/// The child's side: one subject, once.
fn row(job: &Job) -> io::Result<Measured> {
    let (dir, record_bytes) = (&job.start.dir, job.start.record_bytes);
    let running = job.start.run()?;
    let began = Instant::now();
    let deadline = began + Duration::from_secs_f64(job.seconds_max);
    let records = job.bytes_max / (record_bytes * job.threads) as u64;
    let one = |thread| {
        let mut line = Numbered::new(thread, record_bytes);
        flat_out(&mut *running.writer(), &mut line, records, deadline)
    };
    let accepted: Vec<u64> = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> =
            (0..job.threads).map(|thread| scope.spawn(move || one(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("offering does not panic")).collect()
    });
    running.finish(FINISH);
    let seconds = began.elapsed().as_secs_f64();
    let cached = page_cache::of_files(dir)?;
    let synced_from = Instant::now();
    process::sync_files(dir)?;
    let synced_seconds = seconds + synced_from.elapsed().as_secs_f64();
    let landed_bytes = landed(dir)?.bytes;
    let checked = lines::check(dir, record_bytes, &accepted)?;
    let accepted = accepted.iter().sum();
    Ok(Measured { accepted, landed_bytes, seconds, synced_seconds, cached, checked })
}

/// Offers lines without a pause. A refused line is offered again until it is accepted, with a yield of the
/// processor in between. Ends early if the subject takes too much memory. Returns how many were accepted.
fn flat_out(writer: &mut dyn Writer, line: &mut Numbered, records: u64, deadline: Instant) -> u64 {
    let (mut accepted, mut guard) = (0, MemoryGuard::new(MemoryGuard::BYTES_MAX));
    while accepted < records {
        let now = Instant::now();
        if now >= deadline || guard.is_exceeded(now) {
            break;
        }
        for _ in 0..STRIDE.min(records - accepted) {
            while !writer.write(line.bytes()) {
                if Instant::now() >= deadline {
                    return accepted;
                }
                std::thread::yield_now();
            }
            line.advance();
            accepted += 1;
        }
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Buffers;
    use crate::report::PRODUCER;
    use crate::subjects;
    use crate::system::scratch::Scratch;

    /// Ten times the memory that there is: some are refused, and offered again.
    #[test]
    fn all_that_is_accepted_lands_once() {
        let subject = subjects::named(PRODUCER).unwrap();
        let buffers = Buffers { buffer_bytes: 64 << 10, memory_bytes: 1 << 20 };
        let entry = Entry { subject: &*subject, buffers };
        for threads in [1, 3] {
            let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
            let start = Start::new(entry, &scratch, 100);
            let job = Job { start, bytes_max: 10 << 20, seconds_max: 60.0, threads };
            let row = row(&job).unwrap();
            assert_eq!(row.accepted, (10 << 20) / (100 * threads as u64) * threads as u64);
            assert!(row.checked.complete(row.accepted), "{:?}", row.checked);
            assert!(row.seconds <= row.synced_seconds);
            let disk = Speed { bytes_per_s: 1e9, direct: true, rounds: vec![1e9] };
            let reported = reported(entry, &[(row, disk.clone()), (row, disk)]).unwrap();
            assert!(reported.complete && reported.fraction_of_disk > 0.0);
            assert_eq!(reported.landed_records, 2 * row.accepted);
        }
        assert!(reported(entry, &[]).is_none());
    }

    #[test]
    fn a_deadline_ends_a_subject_that_takes_nothing() {
        struct Never;
        impl Writer for Never {
            fn write(&mut self, _: &[u8]) -> bool {
                false
            }
        }
        let mut line = Numbered::new(0, 64);
        assert_eq!(flat_out(&mut Never, &mut line, 10, Instant::now()), 0);
    }

    #[test]
    fn a_small_disk_shortens_the_run() {
        assert_eq!(affordable_bytes(10 << 30, 80 << 30), 10 << 30);
        assert_eq!(affordable_bytes(10_000, 10_000), 8_000);
    }
}
