//! Measure 3: the same load for all subjects, at fractions of the disk's own speed, for many seconds. It shows
//! what is refused, what is lost, and how long single writes take. It also shows the cost in processor time,
//! memory and page cache.
//!
//! Guarantees: each row has a process of its own and starts while the disk has nothing left to write; its files
//! are removed. Subjects take turns at going first. memcpy, which writes no file, shows what the load costs alone.

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::args::seconds;
use super::child::{self, Start};
use super::pacer::{self, Paced};
use crate::bench::{Bench, Entry, record};
use crate::report::{Report, Sustained, SustainedRow};
use crate::subject::{Running, landed};
use crate::system::clock::Calibration;
use crate::system::disk::{self, Speed};
use crate::system::{page_cache, process};

const MEASURE: &str = "sustained";
const FRACTIONS: [f64; 4] = [0.2, 0.4, 0.6, 0.8];
/// How long a subject may take to write what is in memory at the end.
const FINISH: Duration = Duration::from_secs(60);
const MB: f64 = 1e6;
const MIB: f64 = (1 << 20) as f64;

/// The options.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Loads, as fractions of the disk's speed [default: 0.2,0.4,0.6,0.8, if no --loads are given]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fractions: Vec<f64>,

    /// Loads in MB/s
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    loads: Vec<f64>,

    /// Duration of each row [default: 20]
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,

    /// Bytes of a record
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    record: u32,

    /// Threads that share the load
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
}

impl Default for Options {
    fn default() -> Self {
        Options { fractions: vec![], loads: vec![], seconds: None, record: 128, threads: 1 }
    }
}

/// One row's job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    start: Start,
    bytes_per_s: f64,
    seconds: f64,
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
    /// Less than asked for: the subject took too much memory.
    seconds: f64,
    /// Less than was to be offered: the subject made its callers wait.
    reached_bytes_per_s: f64,
    accepted: u64,
    refused: u64,
    landed_bytes: u64,
    mean_ns: f64,
    p99_ns: f64,
    p999_ns: f64,
    max_ns: f64,
    cpu_seconds: f64,
    /// Until all files were on the disk, beginning when the subject said that it was done.
    sync_seconds: f64,
    peak_memory_bytes: u64,
    cached: page_cache::Cached,
}

pub fn run(bench: &Bench, report: &mut Report, options: &Options) {
    match measure(bench, report, options) {
        Ok(sustained) => report.measures.sustained = Some(sustained),
        Err(error) => report.skip(MEASURE, "all", &error.to_string()),
    }
}

fn measure(bench: &Bench, report: &mut Report, options: &Options) -> io::Result<Sustained> {
    let disk = disk_speed(bench)?;
    report.machine.disk_mb_per_s = Some(disk.mb_per_s());
    let loads = loads(options, &disk);
    let asked = options.seconds.unwrap_or(bench.full_or_quick(20.0, 0.5));
    let seconds = affordable_seconds(asked, &loads, process::free_bytes(bench.dir())?);
    let entries = bench.entries();
    let mut rows = Vec::new();
    for (number, &bytes_per_s) in loads.iter().enumerate() {
        for turn in 0..entries.len() {
            let entry = entries[(turn + number) % entries.len()];
            eprintln!(
                "{MEASURE}: {} at {:.0} MB/s, {seconds:.1} s",
                entry.name(),
                bytes_per_s / MB
            );
            match measure_one(bench, entry, bytes_per_s, seconds, options) {
                Ok(row) => rows.push(reported(entry, &row, (bytes_per_s, seconds), options, &disk)),
                Err(error) => report.skip(MEASURE, entry.name(), &error.to_string()),
            }
        }
    }
    let after = disk_speed(bench)?;
    Ok(Sustained {
        record_bytes: u64::from(options.record),
        seconds,
        disk_mb_per_s: disk.mb_per_s(),
        disk_mb_per_s_after: after.mb_per_s(),
        threads: u64::from(options.threads),
        rows,
    })
}

fn disk_speed(bench: &Bench) -> io::Result<Speed> {
    process::sync_file_system(bench.dir())?;
    let disk = disk::measure(bench.dir(), bench.full_or_quick(5, 1), Duration::from_secs(1))?;
    eprintln!("{MEASURE}: the disk does {:.0} MB/s: {}", disk.mb_per_s(), disk.method());
    Ok(disk)
}

/// In bytes per second.
fn loads(options: &Options, disk: &Speed) -> Vec<f64> {
    let defaults: &[f64] = if options.loads.is_empty() { &FRACTIONS } else { &[] };
    let fractions = if options.fractions.is_empty() { defaults } else { &options.fractions };
    let fractions = fractions.iter().map(|fraction| fraction * disk.bytes_per_s);
    fractions.chain(options.loads.iter().map(|load| load * MB)).collect()
}

/// What was asked for, or less, so that the largest load leaves a fifth of the free space.
fn affordable_seconds(asked: f64, loads: &[f64], free_bytes: u64) -> f64 {
    let most = loads.iter().fold(0.0, |a: f64, &b| a.max(b));
    let affordable = if most > 0.0 { 0.8 * free_bytes as f64 / most } else { asked };
    if affordable < asked {
        eprintln!("{MEASURE}: the disk has room for {affordable:.1} s only");
    }
    asked.min(affordable)
}

fn measure_one(
    bench: &Bench,
    entry: Entry,
    bytes_per_s: f64,
    seconds: f64,
    options: &Options,
) -> io::Result<Measured> {
    // What earlier rows left must not slow this one.
    process::sync_file_system(bench.dir())?;
    let scratch = bench.scratch();
    let start = Start::new(entry, &scratch, options.record as usize);
    let job = Job { start, bytes_per_s, seconds, threads: options.threads.into() };
    let timeout = Duration::from_secs_f64(seconds) + 4 * FINISH;
    child::answer(&job, timeout)
}

fn reported(
    entry: Entry,
    row: &Measured,
    (bytes_per_s, seconds): (f64, f64),
    options: &Options,
    disk: &Speed,
) -> SustainedRow {
    let landed = row.landed_bytes / u64::from(options.record);
    if landed > row.accepted {
        eprintln!("{MEASURE}: {}: {landed} landed of {} accepted", entry.name(), row.accepted);
    }
    if row.seconds < 0.99 * seconds {
        eprintln!(
            "{MEASURE}: {}: stopped at {:.1} s, it took too much memory",
            entry.name(),
            row.seconds
        );
    }
    let lands = entry.subject.lands();
    // Of a subject that writes no file, what it accepted.
    let done = if lands { row.landed_bytes } else { row.accepted * u64::from(options.record) };
    SustainedRow {
        subject: entry.name().into(),
        buffer_bytes: entry.buffers.buffer_bytes as u64,
        memory_bytes: entry.buffers.memory_bytes as u64,
        offered_mb_per_s: bytes_per_s / MB,
        seconds: row.seconds,
        reached_mb_per_s: row.reached_bytes_per_s / MB,
        fraction_of_disk: bytes_per_s / disk.bytes_per_s,
        accepted_records: row.accepted,
        refused_records: row.refused,
        landed_records: landed,
        lost_records: if lands { row.accepted.saturating_sub(landed) } else { 0 },
        mean_ns: row.mean_ns,
        p99_ns: row.p99_ns,
        p999_ns: row.p999_ns,
        max_ns: row.max_ns,
        cpu_s_per_gb: (done > 0).then(|| row.cpu_seconds / (done as f64 / 1e9)),
        sync_s: row.sync_seconds,
        peak_memory_mib: row.peak_memory_bytes as f64 / MIB,
        page_cache_mib: row.cached.bytes as f64 / MIB,
        page_cache_dirty_mib: row.cached.dirty_bytes.map(|bytes| bytes as f64 / MIB),
    }
}

/// The child's side: one subject under one load.
fn row(job: &Job) -> io::Result<Measured> {
    let (clock, dir) = (Calibration::measure(), &job.start.dir);
    let cpu_before = process::cpu_seconds();
    let running = job.start.run()?;
    let paced = offer(&*running, job);
    running.finish(FINISH);
    let cpu_seconds = process::cpu_seconds() - cpu_before;
    let peak_memory_bytes = process::peak_memory_bytes()?;
    let cached = page_cache::of_files(dir)?;
    let began = Instant::now();
    process::sync_files(dir)?;
    let offered = (paced.accepted + paced.refused) as f64 * job.start.record_bytes as f64;
    let quantile = |q| clock.ns(paced.latency.value_at_quantile(q));
    Ok(Measured {
        seconds: paced.elapsed.as_secs_f64(),
        reached_bytes_per_s: offered / paced.elapsed.as_secs_f64(),
        accepted: paced.accepted,
        refused: paced.refused,
        landed_bytes: landed(dir)?.bytes,
        mean_ns: clock.ns(paced.untimed_ticks) / paced.untimed.max(1) as f64,
        p99_ns: quantile(0.99),
        p999_ns: quantile(0.999),
        max_ns: clock.ns(paced.longest_ticks),
        cpu_seconds,
        sync_seconds: began.elapsed().as_secs_f64(),
        peak_memory_bytes,
        cached,
    })
}

/// Offers the load, shared among the job's threads.
fn offer(running: &dyn Running, job: &Job) -> Paced {
    let record = record(job.start.record_bytes);
    let per_s = job.bytes_per_s / record.len() as f64 / job.threads as f64;
    let time = Duration::from_secs_f64(job.seconds);
    let one = || pacer::run(&mut *running.writer(), &record, per_s, time);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..job.threads).map(|_| scope.spawn(one)).collect();
        let paced =
            threads.into_iter().map(|thread| thread.join().expect("a pacer does not panic"));
        paced.reduce(Paced::and).expect("there is a thread")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::LARGE;
    use crate::report::{MEMCPY, PRODUCER};
    use crate::subjects;

    fn speed() -> Speed {
        Speed { bytes_per_s: 1e9, direct: true, rounds: vec![1e9] }
    }

    #[test]
    fn loads_are_fractions_or_what_is_asked_for() {
        let loads_of = |fractions: &[f64], absolute: &[f64]| {
            let (fractions, loads) = (fractions.to_vec(), absolute.to_vec());
            super::loads(&Options { fractions, loads, ..Options::default() }, &speed())
        };
        assert_eq!(loads_of(&[], &[]), [2e8, 4e8, 6e8, 8e8]);
        assert_eq!(loads_of(&[0.5], &[]), [5e8]);
        assert_eq!(loads_of(&[], &[450.0]), [4.5e8]);
        assert_eq!(loads_of(&[0.5], &[450.0]), [5e8, 4.5e8]);
    }

    #[test]
    fn a_small_disk_shortens_the_run() {
        assert_eq!(affordable_seconds(20.0, &[1e9, 2e9], 100_000_000_000), 20.0);
        assert_eq!(affordable_seconds(20.0, &[1e9, 2e9], 10_000_000_000), 4.0);
        assert_eq!(affordable_seconds(20.0, &[], 0), 20.0);
    }

    /// A short load of a subject, as it is reported.
    fn briefly(name: &str) -> SustainedRow {
        let scratch = crate::system::scratch::Scratch::new(&std::env::temp_dir()).unwrap();
        let subject = subjects::named(name).unwrap();
        let entry = Entry { subject: &*subject, buffers: LARGE };
        let start = Start::new(entry, &scratch, 128);
        let row = row(&Job { start, bytes_per_s: 20e6, seconds: 0.05, threads: 2 }).unwrap();
        reported(entry, &row, (20e6, 0.05), &Options::default(), &speed())
    }

    #[test]
    fn what_is_accepted_lands() {
        let row = briefly(PRODUCER);
        assert!(row.accepted_records > 0 && row.mean_ns > 0.0);
        assert_eq!(row.landed_records, row.accepted_records);
        assert_eq!((row.lost_records, row.refused_records), (0, 0));
        assert_eq!(row.fraction_of_disk, 0.02);
        assert!(row.cpu_s_per_gb.is_some());
    }

    #[test]
    fn what_is_not_to_land_is_not_lost() {
        let row = briefly(MEMCPY);
        assert!(row.accepted_records > 0);
        assert_eq!((row.landed_records, row.lost_records, row.refused_records), (0, 0, 0));
        assert!(row.cpu_s_per_gb.is_some());
    }
}
