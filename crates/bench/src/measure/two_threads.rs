//! Two threads against one: what a write costs while another thread writes to the same writer, whose memory has
//! room.
//!
//! As in measure 1, except that each thread times its own round, on a processor of its own, and all begin at the
//! same time. The machine's own limit is memcpy with as many threads, each into memory of its own, and the steps
//! of a write likewise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::rounds::{Visit, gather, interleaved, lead_in, pause, wide};
use crate::bench::{Bench, Entry, record};
use crate::report::{MEMCPY, PRODUCER, Report, TwoThreads, TwoThreadsRow, WRITER};
use crate::stats;
use crate::subject::{Running, Sink, Unavailable, Writer};
use crate::subjects::limits::Limit;
use crate::system::affinity::Pinned;
use crate::system::clock;

const RECORD_BYTES: usize = 128;
const WARM_UP_ROUNDS: u64 = 4;

pub fn run(bench: &Bench, report: &mut Report) {
    let repetitions = bench.full_or_quick(25, 5);
    let rounds = bench.full_or_quick(40, 10);
    eprintln!("two threads against one: {repetitions} repetitions");
    let mut entries = bench.entries();
    entries.retain(|entry| [MEMCPY, PRODUCER, WRITER].contains(&entry.name()));
    entries.insert(1.min(entries.len()), Entry { subject: &Limit::Steps, buffers: wide(bench) });
    let visits = interleaved(&entries, repetitions, |entry| {
        [1, 2].map(|threads| {
            visit(bench, entry, threads, rounds).unwrap_or_else(|unavailable| {
                report.skip("two threads", entry.name(), &unavailable.0);
                Visit::default()
            })
        })
    });
    let rows = entries.iter().zip(visits).map(|(entry, visits)| {
        let of = |which: usize| visits.iter().filter_map(|visit| visit[which].ns).collect();
        let ratio = |visit: &[Visit; 2]| stats::ratio(visit[1].ns?, visit[0].ns?);
        TwoThreadsRow {
            subject: entry.name().into(),
            buffer_bytes: entry.buffers.buffer_bytes as u64,
            one_ns: stats::median(of(0)),
            two_ns: stats::median(of(1)),
            ratio: stats::spread(visits.iter().filter_map(ratio).collect()),
            rounds: visits.iter().flatten().map(|visit| visit.rounds).sum(),
            rounds_thrown_away: visits.iter().flatten().map(|visit| visit.thrown_away).sum(),
        }
    });
    report.measures.two_threads = Some(TwoThreads {
        record_bytes: RECORD_BYTES as u64,
        round_bytes: bench.round_bytes as u64,
        rows: rows.collect(),
    });
}

fn visit(bench: &Bench, entry: Entry, threads: u64, rounds: u64) -> Result<Visit, Unavailable> {
    let (running, _scratch) = bench.start(entry, Sink::Null, RECORD_BYTES)?;
    let team = Team::new(threads, bench.writes_per_round(entry.buffers, RECORD_BYTES));
    let visit = std::thread::scope(|scope| {
        let (team, running) = (&team, &*running);
        for _ in 1..threads {
            scope.spawn(|| team.follow(running));
        }
        team.lead(bench, running, rounds)
    });
    running.finish(Duration::from_secs(10));
    Ok(visit)
}

/// Threads that go through rounds together.
struct Team {
    threads: u64,
    writes: u64,
    /// Arrivals at meetings so far, of all threads.
    arrived: AtomicU64,
    /// Ticks and accepted writes of the present round, summed over all threads.
    ticks: AtomicU64,
    taken: AtomicU64,
    is_over: AtomicBool,
}

impl Team {
    fn new(threads: u64, writes: u64) -> Self {
        Team {
            threads,
            writes,
            arrived: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    fn lead(&self, bench: &Bench, running: &dyn Running, rounds: u64) -> Visit {
        let _pinned = Pinned::to(1);
        let mut writer = running.writer();
        let record = record(RECORD_BYTES);
        let mut round = || {
            self.ticks.store(0, Ordering::Relaxed);
            self.taken.store(0, Ordering::Relaxed);
            self.take_part(&mut *writer, &record);
            let ticks = self.ticks.load(Ordering::Relaxed) / self.threads;
            let is_all_taken = self.taken.load(Ordering::Relaxed) == self.writes * self.threads;
            pause(running, is_all_taken);
            let timed = self.writes - lead_in(self.writes);
            is_all_taken.then(|| bench.clock.ns(ticks) / timed as f64)
        };
        for _ in 0..WARM_UP_ROUNDS {
            round();
        }
        let visit = gather(rounds, round);
        self.is_over.store(true, Ordering::Relaxed);
        self.meet();
        visit
    }

    /// The second thread; there are at most two.
    fn follow(&self, running: &dyn Running) {
        let _pinned = Pinned::to(0);
        let mut writer = running.writer();
        let record = record(RECORD_BYTES);
        while self.take_part(&mut *writer, &record) {}
    }

    /// One round; `false` once there are no more.
    fn take_part(&self, writer: &mut dyn Writer, record: &[u8]) -> bool {
        self.meet();
        if self.is_over.load(Ordering::Relaxed) {
            return false;
        }
        // By now all threads have a processor, so the second meeting is short.
        self.meet();
        let lead_in = lead_in(self.writes);
        let taken_before = writer.repeat(record, lead_in);
        let before = clock::ticks();
        let taken = writer.repeat(record, self.writes - lead_in) + taken_before;
        self.ticks.fetch_add(clock::ticks() - before, Ordering::Relaxed);
        self.taken.fetch_add(taken, Ordering::Relaxed);
        self.meet();
        true
    }

    /// Waits for all others. Spins at first, so that all go on at the same time, then yields the processor.
    fn meet(&self) {
        let mine = self.arrived.fetch_add(1, Ordering::AcqRel);
        let all = (mine / self.threads + 1) * self.threads;
        let mut looks = 0u64;
        while self.arrived.load(Ordering::Acquire) < all {
            looks += 1;
            if looks > 10_000 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counts<'a>(&'a AtomicU64);

    impl Writer for Counts<'_> {
        fn write(&mut self, _: &[u8]) -> bool {
            self.0.fetch_add(1, Ordering::Relaxed);
            true
        }
    }

    #[test]
    fn all_threads_take_part_in_each_round() {
        let (team, count) = (Team::new(2, 10), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| while team.take_part(&mut Counts(&count), b"x") {});
            for round in 1..=5 {
                assert!(team.take_part(&mut Counts(&count), b"x"));
                assert_eq!(count.load(Ordering::Relaxed), 20 * round);
            }
            team.is_over.store(true, Ordering::Relaxed);
            team.meet();
            other.join().unwrap();
        });
        assert_eq!(team.taken.load(Ordering::Relaxed), 100);
    }
}
