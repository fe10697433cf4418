//! From the bytes of a slot to counts and errors. `mod.rs` has the layout.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::base::checksum::fnv1a;
use crate::base::le;
use crate::file::state_file::counters::layout::{
    self, Counters, HELD_BY, HOOK_FILE, NUMBERS_AT, OF_GUARD, OF_HOOK, OF_LATEST, OF_MANIFEST,
    OF_RETENTION, ROW_BYTES, ROWS_AT, Times, of_worker,
};
use crate::file::state_file::format::CHECKSUM_BYTES;
use crate::naming::Stamp;
use crate::report::error::Error;
use crate::report::health::{Health, Stall};
use crate::report::published::{HookStall, ManifestStall};
use crate::report::stats::{
    Count, GuardStats, Lost, Missing, PublishStats, Refused, RetentionStats, Stats, WorkerStats,
};

/// No number is larger, so that sums of them do not overflow, whoever wrote them.
const MOST: u64 = u64::MAX >> 4;
/// No worker has more chunks, so that sums over 256 workers do not overflow on 32 bits.
const CHUNKS_MOST: u64 = u32::MAX as u64 >> 8;

/// The newest whole slot of these. `now` is the reader's time.
pub(crate) fn newest(
    slots: &[u8],
    slot_bytes: usize,
    workers: usize,
    now: (Instant, Stamp),
) -> Option<Counters> {
    let whole = |slot: &&[u8]| {
        let (body, sum) = slot.split_at(slot.len().saturating_sub(CHECKSUM_BYTES));
        let is_large = slot.len() >= layout::slot_bytes(workers);
        is_large && le::u64(&body[..8]) > 0 && le::u64(sum) == fnv1a(body)
    };
    let slots = slots.chunks_exact(slot_bytes.max(1)).filter(whole);
    let newest = slots.max_by_key(|slot| le::u64(&slot[..8]))?;
    Some(Reader::new(newest, workers, now).counters())
}

/// A whole slot, whose numbers are taken in their order.
struct Reader<'a> {
    slot: &'a [u8],
    workers: usize,
    at: usize,
    times: Times,
    /// The reader's time, and how long ago the writer counted.
    now: Instant,
    age: Duration,
}

impl<'a> Reader<'a> {
    fn new(slot: &'a [u8], workers: usize, (now, shown): (Instant, Stamp)) -> Self {
        let number = |at: usize| le::u64(&slot[at..at + 8]);
        let (started, refreshed) = (Stamp(number(8)), Stamp(number(16)));
        let times = Times { started, refreshed, uptime: Duration::from_nanos(number(24)) };
        let age = shown.since(refreshed);
        Reader { slot, workers, at: NUMBERS_AT, times, now, age }
    }

    fn number(&mut self) -> u64 {
        let number = le::u64(&self.slot[self.at..self.at + 8]);
        self.at += 8;
        number.min(MOST)
    }

    fn count(&mut self) -> Count {
        Count::new(self.number(), self.number())
    }

    fn flags<const N: usize>(&mut self) -> [bool; N] {
        let flags = self.number();
        std::array::from_fn(|nth| flags >> nth & 1 == 1)
    }

    /// A moment, and the time since then.
    fn moment(&mut self) -> Option<(Instant, Duration)> {
        let since_start = self.number();
        let since_start = Some(since_start).filter(|&nanos| nanos > 0).map(Duration::from_nanos);
        let lasting = self.times.uptime.saturating_sub(since_start?) + self.age;
        // Before the machine was started there is no instant.
        Some((self.now.checked_sub(lasting).unwrap_or(self.now), lasting))
    }

    fn text(&self, wanted: u16) -> Option<String> {
        let mut texts = &self.slot[ROWS_AT + ROW_BYTES * self.workers..];
        while texts.len() > 4 {
            let (number, len) = (le::u16(&texts[..2]), usize::from(le::u16(&texts[2..4])));
            let text = texts[4..].get(..len).filter(|_| number != 0)?;
            if number == wanted {
                return Some(String::from_utf8_lossy(text).into_owned());
            }
            texts = &texts[4 + len..];
        }
        None
    }

    fn error(&self, wanted: u16, is_there: bool) -> Option<Error> {
        let text = || self.text(wanted).unwrap_or_else(|| "an error".to_owned());
        is_there.then(|| Error::told(text()))
    }

    fn counters(mut self) -> Counters {
        let [accepted, written, pending] = std::array::from_fn(|_| self.count());
        let mut count = || self.count();
        let lost = Lost {
            shutdown: count(),
            temp_file_removed: count(),
            temp_file_damaged: count(),
            gave_up: count(),
        };
        let refused = Refused {
            full: count(),
            too_large: count(),
            closed: count(),
            disk_guard: count(),
            format: count(),
            out_of_memory: count(),
        };
        let [files, files_bytes, memory, bound] = std::array::from_fn(|_| self.number());
        let [locks, permissions] = self.flags();
        let disk_guard = self.guard();
        let publishing = self.publishing();
        let retention = self.retention();
        let [latest] = self.flags();
        let latest_error = self.error(OF_LATEST, latest);
        let (manifest, hook) = (self.manifest(), self.hook());
        let overwritten = self.count();
        let (mut workers, mut stalls) = (Vec::new(), Vec::new());
        for worker in 0..self.workers {
            let (stats, stall) = self.worker(worker);
            workers.push(stats);
            stalls.extend(stall);
        }
        let stats = Stats {
            accepted,
            written,
            pending,
            lost,
            overwritten,
            refused,
            files,
            files_bytes,
            memory_bytes: usize::try_from(memory).unwrap_or(usize::MAX),
            memory_bound_bytes: usize::try_from(bound).unwrap_or(usize::MAX),
            temp_dir: PathBuf::new(),
            workers,
            disk_guard,
            missing: Missing { locks, permissions },
            publishing,
            retention,
            latest_error,
        };
        Counters { times: self.times, stats, health: Health { stalls, manifest, hook } }
    }

    fn guard(&mut self) -> Option<GuardStats> {
        let [some, refuses, fails, has_free, has_total] = self.flags();
        let (free, total) = (self.number(), self.number());
        let measured_at = self.moment().map(|(at, _)| at);
        some.then(|| GuardStats {
            refuses,
            free_bytes: has_free.then_some(free),
            total_bytes: has_total.then_some(total),
            measured_at,
            last_error: self.error(OF_GUARD, fails),
        })
    }

    fn publishing(&mut self) -> Option<PublishStats> {
        let [some] = self.flags();
        let [listed, unlisted, acknowledged, gone, unacknowledged] =
            std::array::from_fn(|_| self.number());
        some.then_some(PublishStats { listed, unlisted, acknowledged, gone, unacknowledged })
    }

    fn retention(&mut self) -> Option<RetentionStats> {
        let [some, is_held, fails] = self.flags();
        let [files_deleted, bytes_deleted] = std::array::from_fn(|_| self.number());
        let held_by = is_held.then(|| self.text(HELD_BY).unwrap_or_default().into());
        let last_error = self.error(OF_RETENTION, fails);
        some.then_some(RetentionStats { files_deleted, bytes_deleted, held_by, last_error })
    }

    fn manifest(&mut self) -> Option<ManifestStall> {
        let (since, attempts) = (self.moment(), self.number());
        let (since, _) = since?;
        Some(ManifestStall { error: self.error(OF_MANIFEST, true)?, since, attempts })
    }

    fn hook(&mut self) -> Option<HookStall> {
        let (since, attempts, unacknowledged) = (self.moment(), self.number(), self.number());
        let (since, lasting) = since?;
        let file = self.text(HOOK_FILE).unwrap_or_default().into();
        let error = self.text(OF_HOOK).unwrap_or_default();
        Some(HookStall { file, error, since, lasting, attempts, unacknowledged })
    }

    fn worker(&mut self, worker: usize) -> (WorkerStats, Option<Stall>) {
        self.at = ROWS_AT + ROW_BYTES * worker;
        let [has_temp_file, temp_file_is_direct, is_stalled] = self.flags();
        let backlog = self.number().min(CHUNKS_MOST);
        let [temp_file_bytes, codec] = std::array::from_fn(|_| self.number());
        let (since, attempts, held_in_file) = (self.moment(), self.number(), self.count());
        let error = self.error(of_worker(worker), is_stalled);
        let stall = error.clone().zip(since).map(|(error, (since, lasting))| Stall {
            worker,
            error,
            since,
            lasting,
            attempts,
            held_chunks: backlog as usize,
            held_in_file,
        });
        let stats = WorkerStats {
            backlog_chunks: backlog as usize,
            temp_file_bytes,
            // Its name is in the worker's entry.
            temp_file: has_temp_file.then(PathBuf::new),
            temp_file_is_direct,
            codec_time: Duration::from_nanos(codec),
            last_error: error,
        };
        (stats, stall)
    }
}
