//! Far more threads than chunks: 2,000 threads at once, then 100,000 short-lived ones.
//!
//! Guarantees: exit code 0 means that every record was written. Peak memory then exceeded that of as many idle
//! threads by at most `memory_bound()` and 2 MiB.

use std::sync::{Arc, Barrier};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use bufferedwriter::{BufferedWriter, Config};
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_testkit::process;
use bufferedwriter_testkit::wait::BOUND;

const ALIVE: usize = 2000;
const RECORDS: usize = 5;
const SHORT_LIVED: usize = 100_000;
const ALLOWANCE: usize = 2 << 20;

fn main() {
    let directory =
        std::env::temp_dir().join(format!("bufferedwriter-crowd-{}", std::process::id()));
    let config = Config::default()
        .path(directory.join("ready"))
        .temp(directory.join("unfinished"))
        .create_dirs(true)
        .queue_size(64);
    let bound = config.memory_bound() + ALLOWANCE;

    // The same threads without a write: what their stacks take.
    crowd(|_| {});
    let idle = peak();
    let began = Instant::now();
    let writer = expect("make a writer", BufferedWriter::new(config.clone()));
    crowd(|thread| {
        for record in 0..RECORDS {
            let line = format!("thread {thread} record {record}\n");
            if let Err(error) = writer.write_timeout(line.as_bytes(), BOUND) {
                fail(&error.to_string());
            }
        }
    });
    expect_written(&writer, ALIVE * RECORDS);
    report("threads at once", ALIVE, began, idle, bound);

    let began = Instant::now();
    let writer = expect("make a writer", BufferedWriter::new(config));
    for batch in 0..SHORT_LIVED / 100 {
        let threads: Vec<_> = (0..100)
            .map(|thread| {
                let writer = writer.clone();
                spawn(move || {
                    let line = format!("batch {batch} thread {thread}\n");
                    if let Err(error) = writer.write_timeout(line.as_bytes(), BOUND) {
                        fail(&error.to_string());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(join);
    }
    expect_written(&writer, SHORT_LIVED);
    report("short-lived threads", SHORT_LIVED, began, idle, bound);
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        fail(&format!("remove {}: {error}", directory.display()));
    }
}

/// Runs `work` in many threads, all of which stay alive until the last one has done it.
fn crowd(work: impl Fn(usize) + Send + Sync) {
    let all = Arc::new(Barrier::new(ALIVE));
    std::thread::scope(|scope| {
        for thread in 0..ALIVE {
            let (all, work) = (all.clone(), &work);
            let body = move || {
                work(thread);
                all.wait();
            };
            let spawned = Builder::new().stack_size(64 << 10).spawn_scoped(scope, body);
            if let Err(error) = spawned {
                fail(&format!("start thread {thread}: {error}"));
            }
        }
    });
}

fn spawn(body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let spawned = Builder::new().stack_size(64 << 10).spawn(body);
    spawned.unwrap_or_else(|error| fail(&format!("start a thread: {error}")))
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        fail("a thread panicked");
    }
}

fn expect_written(writer: &BufferedWriter, records: usize) {
    match writer.close(BOUND) {
        Ok(report) if report.written.records == records as u64 => {}
        Ok(report) => fail(&format!("{records} records were accepted: {report:?}")),
        Err(error) => fail(&error.to_string()),
    }
}

fn report(what: &str, threads: usize, began: Instant, idle: usize, bound: usize) {
    let more = peak().saturating_sub(idle);
    println!(
        "{threads} {what}: all landed in {:.1} s; peak memory {} KiB above the same threads idle, {} allowed",
        began.elapsed().as_secs_f64(),
        more >> 10,
        bound >> 10
    );
    if more > bound {
        fail("too much memory");
    }
}

/// The peak of resident memory so far, in bytes.
fn peak() -> usize {
    (process::number("self", "VmHWM:") as usize) << 10
}
