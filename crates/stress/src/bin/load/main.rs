//! Writes at a steady pace for a while and logs what became of it, while a script makes the disk fail.
//! `verify` compares its log with the files.
//!
//! Guarantees: each line is true when it is printed. `flushed` means that a flush succeeded, `error` is what a
//! worker reported, `closed` the accounts. Exit code 1 means a broken promise: a call took too long, a close
//! missed its deadline, or the accounts don't balance.
//!
//! Layers: `main` writes and logs, `args` parses the options.

mod args;

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, CloseReport, Producer, WriteError};
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::visible;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::{self, Id};

use args::Args;

/// By thread, how many records were accepted.
static ACCEPTED: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
static STOP: AtomicBool = AtomicBool::new(false);

/// How far a close may exceed its deadline.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// What a thread's calls came to.
#[derive(Default)]
struct Calls {
    count: u64,
    bytes: u64,
    refused: u64,
    slowest: Duration,
}

fn main() {
    let args = Args::parse();
    let writer = expect("make a writer", BufferedWriter::new(args.config()));
    println!("ready");
    let threads: Vec<_> = (0..args.threads)
        .map(|number| {
            let producer = writer.producer();
            let pause = args.pause;
            spawn(move || write(number, producer, pause))
        })
        .collect();
    let machine = spawn(lateness);
    watch(&writer, &args);
    STOP.store(true, Relaxed);
    let calls = threads.into_iter().map(join).fold(Calls::default(), |sum, calls| Calls {
        count: sum.count + calls.count,
        bytes: sum.bytes + calls.bytes,
        refused: sum.refused + calls.refused,
        slowest: sum.slowest.max(calls.slowest),
    });
    let late = join(machine);
    println!(
        "calls {}, refused {}, slowest {:?}; the machine was late by {late:?}",
        calls.count, calls.refused, calls.slowest
    );
    for (number, accepted) in ACCEPTED.iter().enumerate().take(args.threads) {
        println!("accepted {number}:{}", accepted.load(Relaxed));
    }
    let report = close(&writer, args.close_within);
    let accepted = (calls.count - calls.refused, calls.bytes);
    if (report.accepted.records, report.accepted.bytes) != accepted {
        fail(&format!("{} records of {} bytes were accepted: {report:?}", accepted.0, accepted.1));
    }
    if calls.slowest > args.slowest + late {
        fail(&format!("a call took {:?}, {:?} at most is permitted", calls.slowest, args.slowest));
    }
    println!("done");
}

/// Flushes now and then and logs that; logs the errors that workers report.
fn watch(writer: &BufferedWriter, args: &Args) {
    let end = Instant::now() + args.time;
    let mut random = Random::new(args.seed);
    let mut told = String::new();
    while Instant::now() < end && !args.told_to_stop() {
        match args.flush_ms {
            0 => thread::sleep(Duration::from_millis(10)),
            most => {
                thread::sleep(Duration::from_millis(random.below(most) as u64));
                let before: Vec<_> =
                    ACCEPTED.iter().take(args.threads).map(|count| count.load(Acquire)).collect();
                if writer.flush(Duration::from_secs(2)).is_ok() {
                    let before: Vec<_> =
                        before.iter().enumerate().map(|(i, n)| format!("{i}:{n}")).collect();
                    println!("flushed {}", before.join(" "));
                }
            }
        }
        let stats = writer.stats();
        let error = stats.workers.iter().find_map(|worker| worker.last_error.as_ref());
        // Without the path, which holds a number that changes each time.
        let word = error.map(|error| format!("{}: {:?}", error.operation(), error.kind()));
        let word = word.unwrap_or_else(|| String::from("none"));
        if word != told && !(told.is_empty() && word == "none") {
            println!("error {word}{}", error.map_or(String::new(), |error| format!(" ({error})")));
        }
        told = word;
    }
}

fn write(number: usize, mut producer: Producer, pause: Duration) -> Calls {
    let (mut calls, mut random, mut buffer) =
        (Calls::default(), Random::new(number as u64), Vec::new());
    let mut sequence = 0;
    while !STOP.load(Relaxed) {
        let seq = visible::number(number as u32, sequence);
        record::make(&mut buffer, Id { producer: 0, seq }, 16 + random.below(200));
        let began = Instant::now();
        let result = producer.write(&buffer);
        calls.slowest = calls.slowest.max(began.elapsed());
        calls.count += 1;
        match result {
            Ok(()) => {
                sequence += 1;
                calls.bytes += buffer.len() as u64;
                ACCEPTED[number].store(sequence, Release);
            }
            Err(WriteError::Full | WriteError::DiskGuard) => calls.refused += 1,
            Err(other) => fail(&format!("a write says {other:?}")),
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    calls
}

/// How late a thread wakes up that only sleeps: the machine's own share of a slow call.
fn lateness() -> Duration {
    const NAP: Duration = Duration::from_millis(1);
    let mut late = Duration::ZERO;
    while !STOP.load(Relaxed) {
        let began = Instant::now();
        thread::sleep(NAP);
        late = late.max(began.elapsed().saturating_sub(NAP));
    }
    late
}

fn close(writer: &BufferedWriter, within: Duration) -> CloseReport {
    let began = Instant::now();
    let result = writer.close(within);
    let took = began.elapsed();
    let (report, how) = match result {
        Ok(report) => (report, String::from("all")),
        Err(error) => (*error.report(), error.to_string()),
    };
    println!(
        "closed after {took:?}, written {} lost {} unresolved {} of {} files {}: {how}",
        report.written.records,
        report.lost.total().records,
        report.unresolved.records,
        report.accepted.records,
        report.files
    );
    if report.accepted != report.written + report.lost.total() + report.unresolved {
        fail(&format!("the accounts do not balance: {report:?}"));
    }
    if took > within + CLOSE_GRACE {
        fail(&format!("a close within {within:?} took {took:?}"));
    }
    report
}

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    expect("start a thread", thread::Builder::new().spawn(body))
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|_| fail("a thread panicked"))
}
