//! Rounds of the loops in which nothing may be refused: their order, their pauses, and what they come to.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Buffers, Entry};
use crate::stats;
use crate::subject::Running;

/// How long the rounds of one repetition may take.
const VISIT: Duration = Duration::from_millis(250);
/// About as long as a worker of this library naps.
const PAUSE_MIN: Duration = Duration::from_micros(700);

/// The result of a subject's turn in one repetition.
#[derive(Clone, Copy, Default)]
pub struct Visit {
    /// Median over the rounds, for one write.
    pub ns: Option<f64>,
    pub rounds: u64,
    pub thrown_away: u64,
}

/// Calls `visit` for each entry once a repetition, in an order that rotates. Returns the results by entry, then
/// by repetition.
pub fn interleaved<'a, T>(
    entries: &[Entry<'a>],
    repetitions: u64,
    mut visit: impl FnMut(Entry<'a>) -> T,
) -> Vec<Vec<T>> {
    let mut results: Vec<Vec<T>> = entries.iter().map(|_| Vec::new()).collect();
    for repetition in 0..repetitions as usize {
        for place in 0..entries.len() {
            let place = (place + repetition) % entries.len();
            results[place].push(visit(entries[place]));
        }
    }
    results
}

/// Buffers as large as a round.
pub fn wide(bench: &Bench) -> Buffers {
    let buffer_bytes = bench.round_bytes;
    Buffers { buffer_bytes, memory_bytes: 2 * buffer_bytes }
}

/// Runs rounds until there are enough or their time is over.
pub fn gather(rounds: u64, mut round: impl FnMut() -> Option<f64>) -> Visit {
    let (began, mut values, mut visit) = (Instant::now(), Vec::new(), Visit::default());
    for number in 0..rounds {
        match round() {
            Some(ns) => values.push(ns),
            None => visit.thrown_away += 1,
        }
        if number >= 2 && began.elapsed() > VISIT {
            break;
        }
    }
    visit.rounds = values.len() as u64;
    visit.ns = stats::median(values);
    visit
}

/// How many writes of a round come before the clock starts: in the pause the caches have gone cold.
pub fn lead_in(writes: u64) -> u64 {
    writes / 16
}

/// Off the clock: the subject gets its memory back. Subjects that need no pause get one too, so that all rounds
/// begin in the same state.
pub fn pause(running: &dyn Running, is_all_taken: bool) {
    let began = Instant::now();
    if !running.settle(Duration::from_millis(200)) {
        std::thread::sleep(Duration::from_millis(2));
    }
    if !is_all_taken {
        std::thread::sleep(Duration::from_millis(50));
    }
    while began.elapsed() < PAUSE_MIN {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_with_refusals_are_counted_apart() {
        let mut results = [Some(3.0), None, Some(1.0), Some(2.0)].into_iter();
        let visit = gather(4, || results.next().unwrap());
        assert_eq!((visit.rounds, visit.thrown_away, visit.ns), (3, 1, Some(2.0)));
    }

    #[test]
    fn each_entry_has_its_turn_in_each_repetition() {
        let bench = Bench::new(&std::env::temp_dir(), &["write".into()], true).unwrap();
        let entries = bench.entries();
        let mut order = Vec::new();
        let results = interleaved(&entries, 3, |entry| order.push(entry.name()));
        assert!(results.iter().all(|of_entry| of_entry.len() == 3));
        assert_eq!(order.len(), 3 * entries.len());
        assert_eq!(order[entries.len()], entries[1].name());
    }
}
