//! A flight recorder of 64 MiB: what it takes while nothing is dumped, and what a dump does to writers.
//!
//! `cargo run --release --bin recorder -- [--quick] [DIR]`. What a write costs beside other writers and memcpy is
//! a subject of the harness: `bufferedwriter-bench tight --subjects "Producer::write,recorder"`.
//!
//! Wake-ups are context switches of all threads but the one that writes, as the kernel counts them. Writes are
//! timed one by one, in bursts of 20 with pauses of a millisecond, on a thread beside the one that dumps. The cost of
//! reading the clock is in each of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config, DumpOptions, Recorder};

const KEPT: usize = 64 << 20;
const RECORD: [u8; 128] = [b'r'; 128];
const BURST: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// What the timed thread is to do.
const UNTIMED: u32 = 0;
const ALONE: u32 = 1;
const BESIDE_DUMP: u32 = 2;
const END: u32 = 3;

fn main() -> io::Result<()> {
    let mut args: Vec<_> = std::env::args_os().skip(1).collect();
    let is_quick = args.iter().any(|arg| arg == "--quick");
    args.retain(|arg| arg != "--quick");
    let parent = args.pop().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("bufferedwriter-recorder-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let measured = measure(&dir, is_quick);
    std::fs::remove_dir_all(&dir)?;
    measured
}

fn measure(dir: &Path, is_quick: bool) -> io::Result<()> {
    let (seconds, dumps) = if is_quick { (1, 5) } else { (10, 50) };
    let resident = number("/proc/self/status", "VmRSS:")?;
    let config = Config::default().path(dir).temp(dir).recorder(Recorder::Last(KEPT));
    let bound = config.memory_bound();
    let writer = BufferedWriter::new(config).map_err(io::Error::other)?;
    // Until the worker has made all memory resident, and the first records are written over.
    while writer.stats().overwritten.is_zero() {
        fill(&writer, KEPT / 8)?;
    }
    let grown = number("/proc/self/status", "VmRSS:")? - resident;
    println!("resident: {grown} KiB more than before, {} KiB at most", bound >> 10);

    // The thread that tells counters has a second to go to sleep.
    thread::sleep(Duration::from_millis(2500));
    let (before, began, bytes) =
        (switches_of_others()?, Instant::now(), writer.stats().accepted.bytes);
    while began.elapsed() < Duration::from_secs(seconds) {
        fill(&writer, 1 << 20)?;
    }
    let rate = (writer.stats().accepted.bytes - bytes) as f64 / began.elapsed().as_secs_f64() / 1e6;
    let wakeups = switches_of_others()? - before;
    println!("wake-ups while nothing is dumped: {wakeups} in {seconds} s, at {rate:.0} MB/s");

    let phase = AtomicU32::new(UNTIMED);
    let mut times = Vec::new();
    let [mut alone, mut beside] = thread::scope(|scope| {
        let timed = scope.spawn(|| time_writes(&writer, &phase));
        for _ in 0..dumps {
            fill(&writer, KEPT + KEPT / 4)?;
            let began = Instant::now();
            phase.store(BESIDE_DUMP, Ordering::Relaxed);
            let dumped = writer.dump(DumpOptions::default().timeout(Duration::from_secs(60)));
            let taken = began.elapsed();
            phase.store(ALONE, Ordering::Relaxed);
            times.push((taken, dumped.map_err(io::Error::other)?.records.bytes));
            thread::sleep(taken);
            phase.store(UNTIMED, Ordering::Relaxed);
            for file in std::fs::read_dir(dir)? {
                let file = file?.path();
                if file.extension() == Some("log".as_ref()) {
                    std::fs::remove_file(file)?;
                }
            }
        }
        phase.store(END, Ordering::Relaxed);
        timed.join().map_err(|_| io::Error::other("the timed thread panicked"))
    })?;
    times.sort_unstable();
    let [(median, bytes), (most, _)] = [times[times.len() / 2], times[times.len() - 1]];
    println!(
        "a dump: {:.1} ms (median of {dumps}), {:.1} ms at most; {:.1} MiB, {:.0} MB/s",
        median.as_secs_f64() * 1e3,
        most.as_secs_f64() * 1e3,
        bytes as f64 / f64::from(1 << 20),
        bytes as f64 / median.as_secs_f64() / 1e6,
    );
    for (name, times) in [("without a dump", &mut alone), ("during a dump", &mut beside)] {
        times.sort_unstable();
        let at =
            |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(0);
        println!(
            "a write {name}: p50 {} ns, p99 {} ns, p99.9 {} ns, {} ns at most; {} writes",
            at(0.5),
            at(0.99),
            at(0.999),
            times.last().unwrap_or(&0),
            times.len()
        );
    }
    let report = writer.close(Duration::from_secs(60)).map_err(io::Error::other)?;
    println!("refused: {}", report.refused.total().records);
    Ok(())
}

fn fill(writer: &BufferedWriter, bytes: usize) -> io::Result<()> {
    (0..bytes / RECORD.len()).try_for_each(|_| writer.write(&RECORD)).map_err(io::Error::other)
}

/// Nanoseconds of each write, without a dump and beside one.
fn time_writes(writer: &BufferedWriter, phase: &AtomicU32) -> [Vec<u64>; 2] {
    let (mut times, mut producer) = ([Vec::new(), Vec::new()], writer.producer());
    loop {
        let now = phase.load(Ordering::Relaxed);
        if now == END {
            return times;
        }
        for _ in 0..BURST {
            let began = Instant::now();
            let said = producer.write(&RECORD);
            let taken = began.elapsed().as_nanos() as u64;
            if said.is_ok() && now != UNTIMED {
                times[usize::from(now == BESIDE_DUMP)].push(taken);
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Context switches of the other threads of this process so far.
fn switches_of_others() -> io::Result<u64> {
    // SAFETY: it reads a number.
    let this = unsafe { libc::gettid() }.to_string();
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_str() != Some(this.as_str()) {
            let status = task.path().join("status");
            sum += number(&status, "voluntary_ctxt_switches:")?;
            sum += number(&status, "nonvoluntary_ctxt_switches:")?;
        }
    }
    Ok(sum)
}

/// A number in a file of proc(5).
fn number(file: impl AsRef<Path>, name: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("there is no {name}")))
}
