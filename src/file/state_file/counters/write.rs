//! From counts and errors to the bytes of a slot. `mod.rs` has the layout.

use std::path::Path;
use std::time::Instant;

use crate::base::checksum::fnv1a;
use crate::file::state_file::counters::layout::{
    FIRST, HELD_BY, HOOK_FILE, NUMBERS_AT, OF_GUARD, OF_HOOK, OF_LATEST, OF_MANIFEST, OF_RETENTION,
    ROW_BYTES, ROWS_AT, Times, nanos, of_worker, slot_bytes,
};
use crate::file::state_file::format::CHECKSUM_BYTES;
use crate::report::error::Error;
use crate::report::health::{Health, Stall};
use crate::report::stats::{Lost, PublishStats, Refused, Stats, WorkerStats};

/// The most of one text.
const TEXT_BYTES_MAX: usize = 240;

/// What a slot says besides times and its generation: the same bytes for the same counts. `start` is the origin of
/// moments.
pub(crate) fn body(stats: &Stats, health: &Health, start: Instant) -> Vec<u8> {
    let mut bytes = vec![0; slot_bytes(stats.workers.len()) - NUMBERS_AT - CHECKSUM_BYTES];
    let mut put = |at: usize, numbers: &[u64]| {
        for (nth, number) in numbers.iter().enumerate() {
            bytes[at - NUMBERS_AT + 8 * nth..][..8].copy_from_slice(&number.to_le_bytes());
        }
    };
    put(NUMBERS_AT, &numbers(stats, health, start));
    for (worker, stats) in stats.workers.iter().enumerate() {
        let stall = health.stalls.iter().find(|stall| stall.worker == worker);
        put(ROWS_AT + ROW_BYTES * worker, &row(stats, stall, start));
    }
    let texts = ROWS_AT + ROW_BYTES * stats.workers.len() - NUMBERS_AT;
    let mut room = &mut bytes[texts..];
    for (number, text) in self::texts(stats, health) {
        let text = short(&text);
        if text.len() + 4 > room.len() {
            break;
        }
        let (place, rest) = room.split_at_mut(text.len() + 4);
        place[..2].copy_from_slice(&number.to_le_bytes());
        place[2..4].copy_from_slice(&(text.len() as u16).to_le_bytes());
        place[4..].copy_from_slice(text.as_bytes());
        room = rest;
    }
    bytes
}

/// The beginning of a text, up to the end of a character.
fn short(text: &str) -> &str {
    let ends = (0..=text.len().min(TEXT_BYTES_MAX)).rev();
    &text[..ends.into_iter().find(|&at| text.is_char_boundary(at)).unwrap_or(0)]
}

/// A moment, never 0.
fn moment(at: Instant, start: Instant) -> u64 {
    nanos(at.saturating_duration_since(start)).max(1)
}

fn flags<const N: usize>(flags: [bool; N]) -> u64 {
    flags.iter().rev().fold(0, |all, &flag| all << 1 | u64::from(flag))
}

fn numbers(stats: &Stats, health: &Health, start: Instant) -> Vec<u64> {
    let Lost { shutdown, temp_file_removed, temp_file_damaged, gave_up } = stats.lost;
    let Refused { full, too_large, closed, disk_guard, format, out_of_memory } = stats.refused;
    let counts = [stats.accepted, stats.written, stats.pending]
        .into_iter()
        .chain([shutdown, temp_file_removed, temp_file_damaged, gave_up])
        .chain([full, too_large, closed, disk_guard, format, out_of_memory]);
    let mut all: Vec<u64> = counts.flat_map(|count| [count.records, count.bytes]).collect();
    let bytes = [stats.memory_bytes as u64, stats.memory_bound_bytes as u64];
    all.extend([stats.files, stats.files_bytes].iter().chain(&bytes));
    all.push(flags([stats.missing.locks, stats.missing.permissions]));

    let guard = stats.disk_guard.clone().unwrap_or_default();
    let is_there = [stats.disk_guard.is_some(), guard.refuses, guard.last_error.is_some()];
    let [some, refuses, fails] = is_there;
    all.push(flags([
        some,
        refuses,
        fails,
        guard.free_bytes.is_some(),
        guard.total_bytes.is_some(),
    ]));
    all.extend([guard.free_bytes, guard.total_bytes].map(Option::unwrap_or_default));
    all.push(guard.measured_at.map_or(0, |at| moment(at, start)));

    let told = stats.publishing.unwrap_or_default();
    all.push(flags([stats.publishing.is_some()]));
    let PublishStats { listed, unlisted, acknowledged, gone, unacknowledged } = told;
    all.extend([listed, unlisted, acknowledged, gone, unacknowledged]);

    let kept = stats.retention.clone().unwrap_or_default();
    let is_there = [stats.retention.is_some(), kept.held_by.is_some(), kept.last_error.is_some()];
    all.extend([flags(is_there), kept.files_deleted, kept.bytes_deleted]);
    all.push(flags([stats.latest_error.is_some()]));

    let manifest = health.manifest.as_ref();
    all.extend(manifest.map_or([0; 2], |it| [moment(it.since, start), it.attempts]));
    let hook = health.hook.as_ref();
    let hook = hook.map(|it| [moment(it.since, start), it.attempts, it.unacknowledged]);
    all.extend(hook.unwrap_or_default());
    all.extend([stats.overwritten.records, stats.overwritten.bytes]);
    debug_assert!(NUMBERS_AT + 8 * all.len() <= ROWS_AT);
    all
}

fn row(stats: &WorkerStats, stall: Option<&Stall>, start: Instant) -> [u64; 8] {
    let is_there = [stats.temp_file.is_some(), stats.temp_file_is_direct, stall.is_some()];
    let held = stall.map(|stall| stall.held_in_file).unwrap_or_default();
    [
        flags(is_there),
        stats.backlog_chunks as u64,
        stats.temp_file_bytes,
        nanos(stats.codec_time),
        stall.map_or(0, |stall| moment(stall.since, start)),
        stall.map_or(0, |stall| stall.attempts),
        held.records,
        held.bytes,
    ]
}

/// What is no number. What matters least comes last.
fn texts(stats: &Stats, health: &Health) -> Vec<(u16, String)> {
    let mut all = Vec::new();
    let mut push = |number: u16, text: Option<String>| all.extend(text.map(|text| (number, text)));
    let shown = |path: &Path| path.display().to_string();
    let (guard, kept) = (stats.disk_guard.as_ref(), stats.retention.as_ref());
    push(OF_GUARD, guard.and_then(|it| it.last_error.as_ref()).map(Error::to_string));
    push(OF_MANIFEST, health.manifest.as_ref().map(|it| it.error.to_string()));
    push(OF_HOOK, health.hook.as_ref().map(|it| it.error.clone()));
    push(HOOK_FILE, health.hook.as_ref().map(|it| shown(&it.file)));
    let stall = health.stalls.first();
    push(stall.map_or(0, |it| of_worker(it.worker)), stall.map(|it| it.error.to_string()));
    push(OF_RETENTION, kept.and_then(|it| it.last_error.as_ref()).map(Error::to_string));
    push(HELD_BY, kept.and_then(|it| it.held_by.as_deref()).map(shown));
    push(OF_LATEST, stats.latest_error.as_ref().map(Error::to_string));
    for stall in health.stalls.iter().skip(1) {
        push(of_worker(stall.worker), Some(stall.error.to_string()));
    }
    all
}

/// The end of a slot: its checksum.
fn sealed(mut slot: Vec<u8>) -> Vec<u8> {
    let body = slot.len() - CHECKSUM_BYTES;
    let sum = fnv1a(&slot[..body]);
    slot[body..].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// A slot with what [`body`] has made.
pub(crate) fn slot(generation: u64, times: Times, body: &[u8]) -> Vec<u8> {
    let Times { started, refreshed, uptime } = times;
    let numbers = [generation, started.0, refreshed.0, nanos(uptime)];
    let mut slot: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
    slot.extend(body);
    slot.resize(slot.len() + CHECKSUM_BYTES, 0);
    sealed(slot)
}

/// Both slots of a new file. Empty for a file without.
pub(crate) fn first_slots(slot_bytes: usize, start: Times) -> Vec<u8> {
    let Some(rest) = slot_bytes.checked_sub(slot(0, start, &[]).len()) else { return Vec::new() };
    let [first, body] = [slot_bytes, rest].map(|len| vec![0; len]);
    [first, slot(FIRST, start, &body)].concat()
}
