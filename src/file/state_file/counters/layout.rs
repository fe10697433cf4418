//! Where what stands in a slot, for reading and writing. `mod.rs` shows it as a whole.

use std::time::Duration;

use crate::file::state_file::format::CHECKSUM_BYTES;
use crate::naming::Stamp;
use crate::report::health::Health;
use crate::report::stats::Stats;

pub(super) const NUMBERS_AT: usize = 32;
pub(super) const ROWS_AT: usize = 512;
pub(super) const ROW_BYTES: usize = 64;
pub(super) const TEXTS_BYTES: usize = 1024 - CHECKSUM_BYTES;

/// The generation of the slot that a file is made with.
pub(crate) const FIRST: u64 = 1;

/// Numbers of texts. Worker 0 has 1.
pub(super) const OF_WORKERS: u16 = 1;
pub(super) const OF_GUARD: u16 = 1000;
pub(super) const OF_RETENTION: u16 = 1001;
pub(super) const HELD_BY: u16 = 1002;
pub(super) const OF_LATEST: u16 = 1003;
pub(super) const OF_MANIFEST: u16 = 1004;
pub(super) const HOOK_FILE: u16 = 1005;
pub(super) const OF_HOOK: u16 = 1006;

pub(super) fn of_worker(worker: usize) -> u16 {
    OF_WORKERS + worker as u16
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Length of one slot.
pub(crate) const fn slot_bytes(workers: usize) -> usize {
    ROWS_AT + ROW_BYTES * workers + TEXTS_BYTES + CHECKSUM_BYTES
}

/// When a writer was started, and when it counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) started: Stamp,
    pub(crate) refreshed: Stamp,
    /// From one to the other, by the clock that is never set.
    pub(crate) uptime: Duration,
}

/// A slot as a reader sees it.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) times: Times,
    pub(crate) stats: Stats,
    pub(crate) health: Health,
}
