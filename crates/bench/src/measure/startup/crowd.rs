//! Thousands of threads that each write one record, some hundreds at a time, then all at once. All threads of a
//! group exist before any of them writes. memcpy shows what the threads themselves cost.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Entry, LARGE, record};
use crate::measure::child::{self, Start};
use crate::report::{Crowd, PRODUCER, Report, WRITER};
use crate::subject::{Running, landed};
use crate::subjects;
use crate::system::process::peak_memory_bytes;

const RECORD_BYTES: usize = 128;
const STACK_BYTES: usize = 64 << 10;
/// How long a thread offers a record that is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// One process's job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    start: Start,
    threads: u64,
    alive: u64,
}

impl child::Job for Job {
    const KIND: &'static str = "crowd";
    type Answer = Crowd;

    fn run(&self) -> io::Result<Crowd> {
        row(self)
    }
}

/// The writer with its defaults, and every peer.
pub fn measure(bench: &Bench, report: &mut Report) -> Vec<Crowd> {
    let mut rows = Vec::new();
    let sizes = bench.full_or_quick([(10_000, 250), (2000, 2000)], [(1000, 100), (500, 500)]);
    for (threads, alive) in sizes {
        eprintln!("startup: {threads} threads with a record each, {alive} at once");
        for entry in bench.entries().into_iter().filter(is_asked) {
            let scratch = bench.scratch();
            let start = Start::new(entry, &scratch, RECORD_BYTES);
            let job = Job { start, threads, alive };
            match child::answer(&job, PATIENCE * 12) {
                Ok(row) => rows.push(row),
                Err(error) => report.skip("startup", entry.name(), &error.to_string()),
            }
        }
    }
    rows
}

/// Of this library only the calls that need a buffer, with the defaults.
fn is_asked(entry: &Entry) -> bool {
    if entry.subject.ours() {
        [PRODUCER, WRITER].contains(&entry.name()) && entry.buffers != LARGE
    } else {
        entry.buffers == LARGE
    }
}

/// In a process of its own.
fn row(job: &Job) -> io::Result<Crowd> {
    let running = job.start.run()?;
    let (began, retried, mut started) = (Instant::now(), AtomicU64::new(0), 0);
    while started < job.threads {
        let group = job.alive.min(job.threads - started);
        at_once(&*running, group, &retried)?;
        started += group;
    }
    running.finish(Duration::from_secs(20));
    let seconds = began.elapsed().as_secs_f64();
    let landed_records = if subjects::named(&job.start.subject)?.lands() {
        Some(landed(&job.start.dir)?.bytes / RECORD_BYTES as u64)
    } else {
        None
    };
    Ok(Crowd {
        subject: job.start.subject.clone(),
        threads: job.threads,
        alive: job.alive,
        seconds,
        retried: retried.into_inner(),
        landed_records,
        peak_memory_mib: peak_memory_bytes()? as f64 / (1 << 20) as f64,
    })
}

/// Runs a group of threads, all of which exist before one of them writes.
fn at_once(running: &dyn Running, threads: u64, retried: &AtomicU64) -> io::Result<()> {
    let all_there = Barrier::new(threads as usize);
    let body = || {
        all_there.wait();
        let (mut writer, record, began) = (running.writer(), record(RECORD_BYTES), Instant::now());
        while !writer.write(&record) && began.elapsed() < PATIENCE {
            retried.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, body) {
                // The threads at the barrier would wait for ever.
                eprintln!("no more threads: {error}");
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Writer;

    #[derive(Default)]
    struct RefusesFirst(AtomicU64);

    impl Running for RefusesFirst {
        fn writer(&self) -> Box<dyn Writer + '_> {
            Box::new(&self.0)
        }

        fn settle(&self, _: Duration) -> bool {
            true
        }

        fn finish(self: Box<Self>, _: Duration) {}
    }

    impl Writer for &AtomicU64 {
        fn write(&mut self, _: &[u8]) -> bool {
            self.fetch_add(1, Ordering::Relaxed) >= 3
        }
    }

    #[test]
    fn what_was_refused_is_offered_again() {
        let (subject, retried) = (RefusesFirst::default(), AtomicU64::new(0));
        at_once(&subject, 10, &retried).unwrap();
        assert_eq!(retried.into_inner(), 3);
        assert_eq!(subject.0.into_inner(), 13);
    }
}
