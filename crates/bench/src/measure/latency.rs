//! Measure 2: how long single calls take when records come in bursts, as they do in a service.
//!
//! 20 records, then a pause of 0.5 to 1 ms in which the thread sleeps. Each call is timed, and the cost of
//! reading the clock is subtracted. Files go to the disk. The subjects take turns of a second or two, in the
//! same order with the same pauses, so disturbances by the machine hit all alike.
//!
//! Where it is known which writes have to get another buffer (a swap), these are also shown apart. A second run
//! collects thousands of them. Before each pause the buffer is filled, off the clock, until the next burst
//! holds one swap.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use bufferedwriter_testkit::random::Random;
use hdrhistogram::Histogram;

use super::rounds::interleaved;
use crate::bench::{Bench, Entry, Record, record};
use crate::report::{Latency, LatencyRow, MEMCPY, PRODUCER, Report, WRITER, Which};
use crate::stats;
use crate::subject::{Running, Sink, Unavailable, Writer};
use crate::system::clock::Calibration;

const RECORD_BYTES: usize = 128;
const BURST: usize = 20;
const PAUSE_US: [u64; 2] = [500, 1000];
/// Written before anything counts, to touch buffers and to give threads their slots.
const WARM_UP_BYTES: usize = 2 << 20;
const WARM_UP: Duration = Duration::from_millis(50);

/// How the bursts of a turn are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bursts {
    Paced,
    AroundSwaps,
}

/// Durations of calls, in ticks: of one turn, or of all turns of an entry.
struct Calls {
    fast: Histogram<u64>,
    swap: Histogram<u64>,
    /// Calls that may be either.
    other: Histogram<u64>,
    refused: u64,
}

impl Calls {
    fn new() -> Self {
        let (fast, swap) = (stats::histogram(), stats::histogram());
        Calls { fast, swap, other: stats::histogram(), refused: 0 }
    }

    fn add(&mut self, more: &Calls) {
        let pairs = [
            (&mut self.fast, &more.fast),
            (&mut self.swap, &more.swap),
            (&mut self.other, &more.other),
        ];
        for (sum, more) in pairs {
            sum.add(more).expect("the bounds are the same");
        }
        self.refused += more.refused;
    }

    fn all(&self) -> Histogram<u64> {
        let mut all = self.fast.clone();
        for more in [&self.swap, &self.other] {
            all.add(more).expect("the bounds are the same");
        }
        all
    }
}

pub fn run(bench: &Bench, report: &mut Report) {
    let entries = bench.few_entries();
    let mut rows = Vec::new();
    for (threads, turns, ms) in [(1, 5, 2000), (2, 3, 2000), (64, 3, 1000)] {
        let turns = bench.full_or_quick(turns, 1);
        let turn = Duration::from_millis(bench.full_or_quick(ms, 300));
        eprintln!("latency: {threads} threads, {turns} turns of {turn:?}");
        let calls = gather(bench, report, &entries, Bursts::Paced, threads, turns, turn);
        for (entry, calls) in entries.iter().zip(&calls) {
            push(&mut rows, bench, entry, threads, Which::All, &calls.all(), calls.refused);
            push(&mut rows, bench, entry, threads, Which::Fast, &calls.fast, 0);
            push(&mut rows, bench, entry, threads, Which::Swap, &calls.swap, 0);
        }
    }
    let mut swapping = bench.entries();
    swapping.retain(|entry| [PRODUCER, WRITER].contains(&entry.name()));
    let (turns, turn) = bench.full_or_quick((3, 2000), (1, 300));
    eprintln!("latency: around swaps, {turns} turns of {turn} ms");
    let turn = Duration::from_millis(turn);
    let calls = gather(bench, report, &swapping, Bursts::AroundSwaps, 1, turns, turn);
    for (entry, calls) in swapping.iter().zip(&calls) {
        let refused = calls.refused;
        push(&mut rows, bench, entry, 1, Which::FastAroundSwap, &calls.fast, refused);
        push(&mut rows, bench, entry, 1, Which::SwapAlone, &calls.swap, 0);
    }
    compare_with_memcpy(&mut rows);
    report.measures.latency = Some(Latency {
        record_bytes: RECORD_BYTES as u64,
        burst_records: BURST as u64,
        pause_us_min: PAUSE_US[0],
        pause_us_max: PAUSE_US[1],
        timer_overhead_ns: bench.clock.overhead_ticks as f64 * bench.clock.ns_per_tick,
        timer_step_ns: bench.clock.step_ticks as f64 * bench.clock.ns_per_tick,
        rows,
    });
}

/// All calls of each entry, over all turns.
fn gather(
    bench: &Bench,
    report: &mut Report,
    entries: &[Entry],
    bursts: Bursts,
    threads: u64,
    turns: u64,
    turn: Duration,
) -> Vec<Calls> {
    let mut seed = 0;
    let calls = interleaved(entries, turns, |entry| {
        seed += 1;
        // The same pauses for all in one repetition.
        let seed = seed / entries.len() as u64;
        one_turn(bench, entry, bursts, threads, turn, seed).unwrap_or_else(|unavailable| {
            report.skip("latency", entry.name(), &unavailable.0);
            Calls::new()
        })
    });
    let sum = |turns: Vec<Calls>| {
        let mut sum = Calls::new();
        turns.iter().for_each(|turn| sum.add(turn));
        sum
    };
    calls.into_iter().map(sum).collect()
}

fn one_turn(
    bench: &Bench,
    entry: Entry,
    bursts: Bursts,
    threads: u64,
    turn: Duration,
    seed: u64,
) -> Result<Calls, Unavailable> {
    let (running, _scratch) = bench.start(entry, Sink::Files, RECORD_BYTES)?;
    let mut sum = Calls::new();
    let all_warm = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let (running, all_warm) = (&*running, &all_warm);
        let threads = (0..threads).map(|number| {
            let random = Random::new(seed << 32 | number);
            scope.spawn(move || {
                let mut caller = Caller::new(running, bench.clock, random, threads);
                caller.warm_up();
                all_warm.wait();
                caller.write_until(Instant::now() + turn, bursts)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().for_each(|thread| sum.add(&thread.join().expect("callers end")));
    });
    running.finish(Duration::from_secs(20));
    Ok(sum)
}

/// A thread that writes.
struct Caller<'a> {
    writer: Box<dyn Writer + 'a>,
    clock: Calibration,
    random: Random,
    record: Record,
    /// This thread's share.
    warm_up_writes: u64,
    swaps_every: Option<u64>,
    /// Records that this thread has written, which tells where the next swap comes. A refusal makes it wrong,
    /// so `swaps_every` is `None` from then on.
    position: u64,
    calls: Calls,
}

impl<'a> Caller<'a> {
    fn new(running: &'a dyn Running, clock: Calibration, random: Random, threads: u64) -> Self {
        let writer = running.writer();
        let swaps_every = writer.swaps_every(RECORD_BYTES);
        let warm_up_writes = (WARM_UP_BYTES / RECORD_BYTES) as u64 / threads;
        let (record, calls) = (record(RECORD_BYTES), Calls::new());
        Caller { writer, clock, random, record, warm_up_writes, swaps_every, position: 0, calls }
    }

    /// In portions, so that no subject is outrun, then in bursts like those that count.
    fn warm_up(&mut self) {
        let portions = 16;
        for _ in 0..portions {
            self.fill(self.warm_up_writes / portions);
            self.pause();
        }
        self.write_until(Instant::now() + WARM_UP, Bursts::Paced);
        self.calls = Calls::new();
    }

    fn write_until(&mut self, end: Instant, bursts: Bursts) -> Calls {
        while Instant::now() < end {
            if let (Bursts::AroundSwaps, Some(every)) = (bursts, self.swaps_every) {
                self.fill(before_swap(self.position, every));
            }
            self.pause();
            self.burst();
        }
        std::mem::replace(&mut self.calls, Calls::new())
    }

    fn pause(&mut self) {
        let us = PAUSE_US[0] + self.random.below(PAUSE_US[1] - PAUSE_US[0]);
        std::thread::sleep(Duration::from_micros(us));
    }

    fn burst(&mut self) {
        let mut ticks = [0; BURST];
        let taken = self.writer.timed(&self.record, &mut ticks);
        self.account(taken, BURST as u64);
        for (number, ticks) in ticks.into_iter().enumerate() {
            let calls = match self.swaps_every {
                None => &mut self.calls.other,
                Some(every) if is_swap(self.position - (BURST - number) as u64, every) => {
                    &mut self.calls.swap
                }
                Some(_) => &mut self.calls.fast,
            };
            calls.saturating_record(ticks.saturating_sub(self.clock.overhead_ticks));
        }
    }

    /// Off the clock.
    fn fill(&mut self, writes: u64) {
        let taken = self.writer.repeat(&self.record, writes);
        self.account(taken, writes);
    }

    fn account(&mut self, taken: u64, offered: u64) {
        self.position += taken;
        self.calls.refused += offered - taken;
        if taken < offered {
            self.swaps_every = None;
        }
    }
}

/// The very first write gets a buffer too.
fn is_swap(position: u64, every: u64) -> bool {
    position.is_multiple_of(every)
}

/// How many writes to put before the next burst, so that its swap is in its middle.
fn before_swap(position: u64, every: u64) -> u64 {
    let half = BURST as u64 / 2;
    (2 * every - half.min(every) - position % every) % every
}

fn push(
    rows: &mut Vec<LatencyRow>,
    bench: &Bench,
    entry: &Entry,
    threads: u64,
    which: Which,
    calls: &Histogram<u64>,
    refused: u64,
) {
    if calls.is_empty() {
        return;
    }
    let ns = |ticks: u64| ticks as f64 * bench.clock.ns_per_tick;
    let at = |quantile| ns(calls.value_at_quantile(quantile));
    let has_curve = matches!(which, Which::All | Which::SwapAlone);
    rows.push(LatencyRow {
        subject: entry.name().into(),
        buffer_bytes: entry.buffers.buffer_bytes as u64,
        threads,
        which,
        writes: calls.len(),
        refused,
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p99_ns: at(0.99),
        p999_ns: at(0.999),
        p9999_ns: at(0.9999),
        max_ns: ns(calls.max()),
        ratio_p99: None,
        ratio_p999: None,
        curve: if has_curve { stats::curve(calls, ns) } else { Vec::new() },
    });
}

fn compare_with_memcpy(rows: &mut [LatencyRow]) {
    let limits: Vec<_> = rows.iter().filter(|row| row.subject == MEMCPY).cloned().collect();
    for row in rows.iter_mut().filter(|row| row.which == Which::All) {
        if let Some(limit) = limits.iter().find(|limit| limit.threads == row.threads) {
            row.ratio_p99 = stats::ratio(row.p99_ns, limit.p99_ns);
            row.ratio_p999 = stats::ratio(row.p999_ns, limit.p999_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_around_a_swap_holds_one() {
        for every in [64, 512] {
            for position in 0..2 * every {
                let begin = position + before_swap(position, every);
                let swaps: Vec<_> =
                    (begin..begin + BURST as u64).filter(|at| is_swap(*at, every)).collect();
                assert_eq!(swaps, [begin + 10], "{position} {every}");
            }
        }
    }

    struct Full;

    impl Writer for Full {
        fn write(&mut self, _: &[u8]) -> bool {
            false
        }

        fn swaps_every(&self, _: usize) -> Option<u64> {
            Some(64)
        }
    }

    #[test]
    fn after_a_refusal_the_swaps_are_unknown() {
        let mut caller = Caller {
            writer: Box::new(Full),
            clock: Calibration { ns_per_tick: 1.0, overhead_ticks: 0, step_ticks: 1 },
            random: Random::new(1),
            record: record(RECORD_BYTES),
            warm_up_writes: 0,
            swaps_every: Some(64),
            position: 0,
            calls: Calls::new(),
        };
        caller.burst();
        assert_eq!(caller.calls.refused, 20);
        assert_eq!((caller.calls.other.len(), caller.calls.all().len()), (20, 20));
    }
}
