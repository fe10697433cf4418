//! Measure 5: what the kernel does for a thread that writes in steady state: system calls, page faults, context
//! switches.
//!
//! Millions of writes, after a warm-up, in a process of its own, at a rate at which nothing is refused. Between
//! portions the thread spins on the clock, which makes no system call. [`crate::system::syscalls`] counts the
//! calls; the rest is the kernel's own account of the thread.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bench::{Bench, Entry, record};
use crate::measure::child::{self, Start};
use crate::report::{Quiet, QuietRow, Report};
use crate::subject::{Running, Writer};
use crate::system::clock::{self, Calibration};
use crate::system::syscalls::{self, SyscallCounter};

const RECORD_BYTES: usize = 128;
const RECORDS_PER_S: u64 = 1_000_000;
const PORTION: u64 = 20;
/// How long a run of the slowest subject may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// One run of a subject.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    start: Start,
    warm_up: u64,
    writes: u64,
    is_counting_calls: bool,
}

impl child::Job for Job {
    const KIND: &'static str = "quiet";
    type Answer = QuietRow;

    fn run(&self) -> io::Result<QuietRow> {
        row(self)
    }
}

pub fn run(bench: &Bench, report: &mut Report) {
    let mut rows = Vec::new();
    for entry in bench.few_entries() {
        eprintln!("quiet: {}, buffers of {} bytes", entry.name(), entry.buffers.buffer_bytes);
        match ask(bench, report, entry) {
            Ok(row) => rows.push(row),
            Err(error) => report.skip("quiet", entry.name(), &error.to_string()),
        }
    }
    report.measures.quiet =
        Some(Quiet { record_bytes: RECORD_BYTES as u64, records_per_s: RECORDS_PER_S, rows });
}

fn ask(bench: &Bench, report: &mut Report, entry: Entry) -> io::Result<QuietRow> {
    let ask = |is_counting_calls, writes| {
        let scratch = bench.scratch();
        let start = Start::new(entry, &scratch, RECORD_BYTES);
        let job = Job { start, warm_up: writes / 10, writes, is_counting_calls };
        child::answer(&job, PATIENCE)
    };
    let writes = bench.full_or_quick(10_000_000, 500_000);
    // Counting is slow, and a few writes suffice to show a call for each record. Only a subject that makes next
    // to none is counted over all writes.
    let few = ask(true, writes / 50)?;
    match few.calls_total() {
        Some(calls) if calls < 100 => ask(true, writes),
        counted => {
            if counted.is_none() {
                report.skip(
                    "quiet",
                    entry.name(),
                    "system calls: seccomp listeners are refused here",
                );
            }
            let calls = few.calls.map(|calls| calls.into_iter().map(|(name, n)| (name, n * 50)));
            Ok(QuietRow {
                calls: calls.map(|calls| calls.collect()),
                is_extrapolated: true,
                ..ask(false, writes)?
            })
        }
    }
}

/// In a process of its own.
fn row(job: &Job) -> io::Result<QuietRow> {
    let running = job.start.run()?;
    let calls = SyscallCounter::default();
    let row = std::thread::scope(|scope| {
        scope.spawn(|| calls.listen());
        let counted = scope.spawn(|| steady(&*running, job, &calls)).join();
        calls.end();
        counted.expect("the writing thread ends")
    });
    running.finish(Duration::from_secs(20));
    Ok(row)
}

/// The writing thread.
fn steady(running: &dyn Running, job: &Job, calls: &SyscallCounter) -> QuietRow {
    let clock = Calibration::measure();
    let (record, mut writer) = (record(RECORD_BYTES), running.writer());
    paced(&mut *writer, &record, job.warm_up, clock);
    let is_counted = job.is_counting_calls && calls.count_this_thread().is_ok();
    // The counts' memory is touched before anything counts, and the cost of looking itself is subtracted.
    let (mut calls_before, mut calls_after) = (calls.counts(), calls.counts());
    let first = Usage::of_this_thread();
    let before = Usage::of_this_thread();
    calls.read(&mut calls_before);
    let began = clock::ticks();
    let taken = paced(&mut *writer, &record, job.writes, clock);
    let ticks = clock::ticks() - began;
    calls.read(&mut calls_after);
    let usage = Usage::of_this_thread().since(&before).since(&before.since(&first));
    QuietRow {
        subject: job.start.subject.clone(),
        buffer_bytes: job.start.buffer_bytes as u64,
        writes: job.writes,
        refused: job.writes - taken,
        seconds: ticks as f64 * clock.ns_per_tick / 1e9,
        faults_minor: usage.faults_minor,
        faults_major: usage.faults_major,
        switches_voluntary: usage.switches_voluntary,
        switches_involuntary: usage.switches_involuntary,
        calls: is_counted.then(|| syscalls::between(&calls_before, &calls_after)),
        is_extrapolated: false,
    }
}

/// Writes in portions, each at its time. Returns how many were accepted.
fn paced(writer: &mut dyn Writer, record: &[u8], writes: u64, clock: Calibration) -> u64 {
    let ticks_per_record = 1e9 / RECORDS_PER_S as f64 / clock.ns_per_tick;
    let (began, mut done, mut taken) = (clock::ticks(), 0, 0);
    while done < writes {
        let portion = PORTION.min(writes - done);
        taken += writer.repeat(record, portion);
        done += portion;
        let due = began + (done as f64 * ticks_per_record) as u64;
        while clock::ticks() < due {
            std::hint::spin_loop();
        }
    }
    taken
}

struct Usage {
    faults_minor: u64,
    faults_major: u64,
    switches_voluntary: u64,
    switches_involuntary: u64,
}

impl Usage {
    fn of_this_thread() -> Self {
        // SAFETY: the kernel fills in the structure that it is given, which is plain numbers.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
            usage
        };
        Usage {
            faults_minor: usage.ru_minflt as u64,
            faults_major: usage.ru_majflt as u64,
            switches_voluntary: usage.ru_nvcsw as u64,
            switches_involuntary: usage.ru_nivcsw as u64,
        }
    }

    fn since(&self, before: &Usage) -> Usage {
        Usage {
            faults_minor: self.faults_minor.saturating_sub(before.faults_minor),
            faults_major: self.faults_major.saturating_sub(before.faults_major),
            switches_voluntary: self.switches_voluntary.saturating_sub(before.switches_voluntary),
            switches_involuntary: self
                .switches_involuntary
                .saturating_sub(before.switches_involuntary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Takes(u64);

    impl Writer for Takes {
        fn write(&mut self, _: &[u8]) -> bool {
            self.0 -= self.0.min(1);
            self.0 > 0
        }
    }

    #[test]
    fn paced_writes_all_and_counts_what_was_taken() {
        let taken = paced(
            &mut Takes(31),
            b"x",
            50,
            Calibration { ns_per_tick: 1.0, overhead_ticks: 0, step_ticks: 1 },
        );
        assert_eq!(taken, 30);
    }

    #[test]
    fn faults_of_this_thread_are_seen() {
        let before = Usage::of_this_thread();
        let touched = std::hint::black_box(vec![1u8; 4 << 20]);
        assert!(Usage::of_this_thread().since(&before).faults_minor > 0);
        drop(touched);
    }
}
