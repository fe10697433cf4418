//! Far more threads than buffers: 2,000 threads at once, then 100,000 short-lived ones.
//!
//! Guarantees: exit code 0 means that every record was written, and that peak memory exceeded that of as many
//! idle threads by at most `memory_bound()` and 2 MiB.

use std::process::exit;
use std::sync::{Arc, Barrier};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, Config};

const ALIVE: usize = 2000;
const RECORDS: usize = 5;
const SHORT_LIVED: usize = 100_000;
const ALLOWANCE: usize = 2 << 20;
/// Longer than any step takes; only a bug reaches it.
const BOUND: Duration = Duration::from_secs(120);

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
    let writer = BufferedWriter::new(config.clone()).unwrap_or_else(|e| fail(&e.to_string()));
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
    let writer = BufferedWriter::new(config).unwrap_or_else(|e| fail(&e.to_string()));
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
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or_else(|| fail("no VmHWM in /proc/self/status")) << 10
}

fn fail(what: &str) -> ! {
    eprintln!("crowd: FAILED: {what}");
    exit(1)
}
