//! What the options permit, and how the memory is divided.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::commands::merge::outcome::Outcome;
use crate::commands::merge::time::Format;
use crate::contents::WINDOW_LOG;
use crate::sys;

/// The least memory of buffers, decoders and sorted lines that works: two zstd windows, and some buffers.
const MEMORY_MIN: usize = 24 << 20;
/// What the program takes before it reads: code, threads, the allocator.
const BASE_BYTES: usize = 16 << 20;
/// Memory of what is known of a file: its path, its format.
const FILE_BYTES: usize = 768;
/// Descriptors for all but the files that are merged: standard streams, the temp file, directories.
const DESCRIPTORS: usize = 16;
/// The smallest and the largest buffer of a file.
const BUFFER_MIN: usize = 64 << 10;
const BUFFER_MAX: usize = 1 << 20;

/// All that the parts of a merge share.
pub(crate) struct Plan {
    pub(crate) format: Format,
    pub(crate) zone: TimeZone,
    /// How much out of order a file is, in nanoseconds; `None` = files are sorted as a whole.
    pub(crate) window: Option<i64>,
    pub(crate) window_log: u32,
    /// How many files are looked at, or sorted, at once.
    pub(crate) threads: usize,
    /// Bytes for all buffers, decoders and sorted lines.
    pub(crate) memory: usize,
    /// Files and runs that may be open at once.
    pub(crate) fan_in: usize,
    pub(crate) outcome: Outcome,
}

impl Plan {
    /// With `memory` bytes in all, of which the output takes `output_bytes`, and that many descriptors.
    pub(crate) fn new(
        (format, zone, window): (Format, TimeZone, Option<Duration>),
        memory: u64,
        files: usize,
        (output_bytes, output_descriptors): (usize, usize),
    ) -> Result<Plan, String> {
        let taken = BASE_BYTES + output_bytes + files * FILE_BYTES;
        let least = taken + MEMORY_MIN;
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        if memory < least {
            let mib = least.div_ceil(1 << 20);
            return Err(format!(
                "--memory must be at least {mib}MiB for {files} files and this output"
            ));
        }
        let memory = memory - taken;
        let by_descriptors = sys::open_files_max().saturating_sub(DESCRIPTORS + output_descriptors);
        let window = window.map(|window| i64::try_from(window.as_nanos()).unwrap_or(i64::MAX));
        // A decoder must leave room for others.
        let window_log = (memory / 8).ilog2().clamp(WINDOW_LOG, 30);
        let by_memory = memory / ((1 << window_log) + (1 << 20));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let fan_in = by_descriptors.min(memory / 2 / BUFFER_MIN).max(4);
        Ok(Plan {
            format,
            zone,
            window,
            window_log,
            threads: processors.min(by_memory).min(fan_in).max(1),
            memory,
            fan_in,
            outcome: Outcome::default(),
        })
    }

    /// Bytes of the buffer of each of so many files and runs.
    pub(crate) fn buffer_bytes(&self, streams: usize) -> usize {
        let share = self.memory / 2 / streams.clamp(1, self.fan_in);
        share.clamp(BUFFER_MIN, BUFFER_MAX) & !4095
    }
}
