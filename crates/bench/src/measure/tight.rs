//! Measure 1: what an accepted write costs in a loop where nothing is refused.
//!
//! Rounds of a limited number of bytes are timed as a whole. Between them, off the clock, the subject gets its
//! memory back. All rounds begin in the same state. The writing thread stays on one processor, subjects that
//! need no pause get one too, and the first writes after a pause are not timed.
//!
//! In each repetition every subject is started, warmed up, timed for some rounds and ended, so only its threads
//! run meanwhile. The order rotates, and ratios are taken within the repetition, so disturbances by the machine
//! hit all alike. A round in which a record was refused does not count.

use std::time::Duration;

use super::rounds::{Visit, gather, interleaved, lead_in, pause, wide};
use crate::bench::{Bench, Buffers, Entry, LARGE, record};
use crate::report::{CRASH_PROOF, MEMCPY, RECORDER, Report, Tight, TightRow};
use crate::stats;
use crate::subject::{Running, Sink, Subject, Unavailable, Writer};
use crate::subjects::limits::Limit;
use crate::system::affinity::Pinned;
use crate::system::clock;

const RECORD_BYTES: [usize; 4] = [32, 128, 512, 2048];
const WARM_UP_ROUNDS: u64 = 4;

/// Repetitions, and rounds in each.
#[derive(Clone, Copy)]
pub struct Plan {
    pub repetitions: u64,
    pub rounds: u64,
}

pub fn run(bench: &Bench, report: &mut Report) {
    let plan =
        Plan { repetitions: bench.full_or_quick(15, 5), rounds: bench.full_or_quick(40, 10) };
    let mut rows = Vec::new();
    for bytes in RECORD_BYTES {
        eprintln!("tight: records of {bytes} bytes, {} repetitions", plan.repetitions);
        rows.extend(rows_of(bench, report, plan, bytes));
    }
    report.measures.tight = Some(Tight {
        round_bytes: bench.round_bytes as u64,
        repetitions: plan.repetitions,
        rounds_per_repetition: plan.rounds,
        rows,
    });
}

fn rows_of(bench: &Bench, report: &mut Report, plan: Plan, record_bytes: usize) -> Vec<TightRow> {
    let entries = with_limits(bench);
    let visits = interleaved(&entries, plan.repetitions, |entry| {
        visit(bench, entry, record_bytes, plan.rounds).unwrap_or_else(|unavailable| {
            report.skip("tight", entry.name(), &unavailable.0);
            Visit::default()
        })
    });
    let limit = entries.iter().position(|entry| entry.name() == MEMCPY);
    let rows = entries.iter().zip(&visits).map(|(entry, mine)| {
        let against = |other: Option<usize>| {
            let pairs = other.into_iter().flat_map(|other| mine.iter().zip(&visits[other]));
            stats::spread(
                pairs.filter_map(|(mine, other)| stats::ratio(mine.ns?, other.ns?)).collect(),
            )
        };
        let suffixes = [CRASH_PROOF, RECORDER].iter();
        let plain = suffixes.filter_map(|end| entry.name().strip_suffix(end)).next();
        let plain = plain.and_then(|name| {
            let is_plain = |of: &Entry| of.name() == name && of.buffers == entry.buffers;
            entries.iter().position(is_plain)
        });
        TightRow {
            subject: entry.name().into(),
            buffer_bytes: entry.buffers.buffer_bytes as u64,
            memory_bytes: entry.buffers.memory_bytes as u64,
            record_bytes: record_bytes as u64,
            ns: stats::median(mine.iter().filter_map(|visit| visit.ns).collect()),
            ratio: against(limit),
            crash_proof: against(plain),
            rounds: mine.iter().map(|visit| visit.rounds).sum(),
            rounds_thrown_away: mine.iter().map(|visit| visit.thrown_away).sum(),
        }
    });
    rows.filter(|row| row.rounds + row.rounds_thrown_away > 0).collect()
}

/// All entries, and after memcpy's the limits for a writer that never blocks its caller. Such a writer can't
/// reuse the same 64 KiB, so they write to memory as large as a round. They are a plain copy, a copy with a
/// published position, and the steps of a write. A recorder goes round all of its memory, and so do two more of them.
fn with_limits(bench: &Bench) -> Vec<Entry<'_>> {
    let mut entries = bench.entries();
    if let Some(place) = entries.iter().position(|entry| entry.name() == MEMCPY) {
        let buffers = wide(bench);
        let limits = [entries[place].subject, &Limit::Position, &Limit::Steps];
        let mut limits = limits.map(|subject| Entry { subject, buffers }).to_vec();
        if entries.iter().any(|entry| entry.name().ends_with(RECORDER)) {
            let buffer_bytes = LARGE.memory_bytes;
            let buffers = Buffers { buffer_bytes, memory_bytes: 2 * buffer_bytes };
            let whole: [&dyn Subject; 2] = [entries[place].subject, &Limit::Steps];
            limits.extend(whole.map(|subject| Entry { subject, buffers }));
        }
        entries.splice(place + 1..place + 1, limits);
    }
    entries
}

fn visit(bench: &Bench, entry: Entry, bytes: usize, rounds: u64) -> Result<Visit, Unavailable> {
    let (running, _scratch) = bench.start(entry, Sink::Null, bytes)?;
    let visit = {
        // Not before the subject has started its threads.
        let _pinned = Pinned::to(1);
        let mut writer = running.writer();
        let writes = bench.writes_per_round(entry.buffers, bytes);
        let record = record(bytes);
        let mut round = || one_round(bench, &*running, &mut *writer, &record, writes);
        for _ in 0..WARM_UP_ROUNDS {
            round();
        }
        gather(rounds, round)
    };
    running.finish(Duration::from_secs(10));
    Ok(visit)
}

/// Nanoseconds a write; `None` if a record was refused.
fn one_round(
    bench: &Bench,
    running: &dyn Running,
    writer: &mut dyn Writer,
    record: &[u8],
    writes: u64,
) -> Option<f64> {
    let lead_in = lead_in(writes);
    let taken_before = writer.repeat(record, lead_in);
    let before = clock::ticks();
    let taken = writer.repeat(record, writes - lead_in) + taken_before;
    let ticks = clock::ticks() - before;
    pause(running, taken == writes);
    (taken == writes).then(|| bench.clock.ns(ticks) / (writes - lead_in) as f64)
}
