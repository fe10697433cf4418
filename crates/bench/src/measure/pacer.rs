//! A thread that offers records at a given rate and sleeps in between.
//!
//! Guarantees: it never spins, since the processor time of the whole process is measured. If a subject makes it
//! wait, it offers the late records as soon as it can, as queued requests would be. It stops if the subject takes
//! too much memory.

use std::time::{Duration, Instant};

use bufferedwriter_testkit::random::Random;
use hdrhistogram::Histogram;

use crate::stats::histogram;
use crate::subject::Writer;
use crate::system::clock;
use crate::system::process::MemoryGuard;

/// How often it wakes up to offer what is due.
const TICK: Duration = Duration::from_millis(1);
/// One write in this many is timed alone, so that reading the clock does not dominate what it measures.
const SAMPLE_EVERY: u64 = 64;

/// The result.
pub struct Paced {
    pub accepted: u64,
    pub refused: u64,
    /// The writes that were not timed alone, and their ticks in all: what a write costs on average.
    pub untimed: u64,
    pub untimed_ticks: u64,
    /// Until the last record was offered.
    pub elapsed: Duration,
    /// Durations of the timed writes, in ticks.
    pub latency: Histogram<u64>,
    /// The longest timed write or series of untimed ones, in ticks, so that no stall hides between samples.
    pub longest_ticks: u64,
}

impl Paced {
    fn new() -> Self {
        Paced {
            accepted: 0,
            refused: 0,
            untimed: 0,
            untimed_ticks: 0,
            elapsed: Duration::ZERO,
            latency: histogram(),
            longest_ticks: 0,
        }
    }

    /// The sum of what two threads did at the same time.
    pub fn and(mut self, other: Paced) -> Paced {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.untimed += other.untimed;
        self.untimed_ticks += other.untimed_ticks;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latency += other.latency;
        self.longest_ticks = self.longest_ticks.max(other.longest_ticks);
        self
    }
}

/// Offers `record` at `per_s` a second for `time`.
pub fn run(writer: &mut dyn Writer, record: &[u8], per_s: f64, time: Duration) -> Paced {
    let mut paced = Paced::new();
    let (mut gaps, mut guard) = (Gaps::new(), MemoryGuard::new(MemoryGuard::BYTES_MAX));
    let (began, mut offered) = (Instant::now(), 0);
    loop {
        let due = (began.elapsed().min(time).as_secs_f64() * per_s) as u64;
        while offered < due {
            let now = Instant::now();
            if now - began >= time {
                break;
            }
            if guard.is_exceeded(now) {
                paced.elapsed = now - began;
                return paced;
            }
            let count = gaps.next().min(due - offered);
            offer(writer, record, count, &mut paced);
            offered += count;
        }
        paced.elapsed = began.elapsed();
        if paced.elapsed >= time {
            return paced;
        }
        let into_tick = paced.elapsed.as_nanos() % TICK.as_nanos();
        std::thread::sleep(TICK - Duration::from_nanos(into_tick as u64));
    }
}

/// Offers `count` records, of which the last one is timed alone.
fn offer(writer: &mut dyn Writer, record: &[u8], count: u64, paced: &mut Paced) {
    let before = clock::ticks();
    let mut taken = writer.repeat(record, count - 1);
    let stretch = clock::ticks() - before;
    let mut ticks = [0];
    taken += writer.timed(record, &mut ticks);
    paced.untimed += count - 1;
    paced.untimed_ticks += stretch;
    paced.latency.saturating_record(ticks[0]);
    paced.longest_ticks = paced.longest_ticks.max(ticks[0]).max(stretch);
    paced.accepted += taken;
    paced.refused += count - taken;
}

/// Random distances from one timed write to the next, [`SAMPLE_EVERY`] on average. With regular ones, all swaps
/// of a buffer that takes 512 records would be timed, or none.
struct Gaps(Random);

impl Gaps {
    fn new() -> Self {
        Gaps(Random::new(64))
    }

    fn next(&mut self) -> u64 {
        1 + self.0.below(2 * SAMPLE_EVERY - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Every(u64);

    impl Writer for Every {
        fn write(&mut self, _: &[u8]) -> bool {
            self.0 += 1;
            !self.0.is_multiple_of(3)
        }
    }

    #[test]
    fn gaps_are_irregular_around_their_mean() {
        let mut gaps = Gaps::new();
        let drawn: Vec<u64> = (0..100_000).map(|_| gaps.next()).collect();
        let mean = drawn.iter().sum::<u64>() as f64 / drawn.len() as f64;
        assert!((mean - SAMPLE_EVERY as f64).abs() < 1.0, "{mean}");
        assert!((1..2 * SAMPLE_EVERY).all(|gap| drawn.contains(&gap)));
    }

    #[test]
    fn all_that_is_offered_is_accepted_or_refused() {
        let (mut writer, mut paced) = (Every(0), Paced::new());
        offer(&mut writer, b"x", 1, &mut paced);
        offer(&mut writer, b"x", 64, &mut paced);
        offer(&mut writer, b"x", 127, &mut paced);
        assert_eq!((writer.0, paced.accepted, paced.refused), (192, 128, 64));
        assert_eq!(paced.latency.len(), 3);
    }

    #[test]
    fn no_more_than_the_rate() {
        let (mut writer, time) = (Every(0), Duration::from_millis(20));
        let paced = run(&mut writer, b"x", 10_000.0, time);
        assert!(paced.elapsed >= time);
        assert!((1..=200).contains(&writer.0), "{}", writer.0);
        assert_eq!(paced.accepted + paced.refused, writer.0);
    }
}
