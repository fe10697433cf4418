//! The format of a state file.
//!
//! All numbers are little-endian. Unnamed bytes are 0. Checksums are 64-bit FNV-1a.
//!
//! ```text
//! header, once    0  magic "BUFWRST\0"        8  version u32 = 4      12  workers u32
//!                16  boot id [16], 0 = unknown                        32  instance u64
//!                40  pid u32    44  path length u32    48  prefix length u16
//!                50  extension length u16    52  length u16 of the directory of the memory
//!                56  number u32 of the codec of the files, 0 = none
//!                60  lengths u16 of the partition, its time zone, the files' header, their footer
//!                68  length u32 of a slot of counters, 0 = there are none
//!                72  canonical path, prefix, extension; directory of the memory, if that outlives the process;
//!                    partition, time zone, header, footer
//!             16360  device u64 and inode u64 of the directory of the memory, 0 without
//!             16376  checksum of all before
//! worker w at 16384 + 128 w
//!                 0  generation u64, goes up by one at every change; 0 = never used, all zero
//!                 8  stamp of the temp file u64, 0 = none    16  its seq u64
//!                24  good length u64    32  whole records in it u64    40  their bytes u64
//!                48  synced length u64    56  synced records u64    64  their bytes u64
//!                72  codec's checksum u32 of the good records, then of the synced ones; 0 without a codec
//!               120  checksum of all before
//! behind the last worker
//!                 0  two slots of counters: `counters/mod.rs` has their layout
//! ```
//!
//! Version 3 had no counters, and zeros in place of the length of their slot. It is read as well.

use std::path::PathBuf;

use crate::naming::{Names, TempId};
use crate::report::stats::Watermark;

pub(crate) const MAGIC: [u8; 8] = *b"BUFWRST\0";
pub(crate) const VERSION: u32 = 4;
/// An older version that is read, too.
pub(crate) const WITHOUT_COUNTERS: u32 = 3;
pub(crate) const HEADER_BYTES: usize = 16_384;
pub(crate) const ENTRY_BYTES: usize = 128;
pub(crate) const CHECKSUM_BYTES: usize = 8;
/// In a worker's entry.
pub(crate) const CHECKSUMS_AT: usize = 72;
pub(crate) const TEXTS_AT: usize = 72;
/// Also the end of the texts.
pub(crate) const MEMORY_ID_AT: usize = 16_360;

/// The part of a state file that describes the writer and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Where files become visible.
    pub(crate) path: PathBuf,
    /// Where the crash-proof memory is; `None` if it is off.
    pub(crate) memory: Option<MemoryDir>,
    /// The name parts of the files.
    pub(crate) names: Names,
    /// Number of the codec of the files.
    pub(crate) codec: u32,
    pub(crate) layout: FileLayout,
    pub(crate) workers: usize,
    /// Length of a slot of counters; 0 without them.
    pub(crate) slot_bytes: usize,
}

/// Where below `path` files appear, and what stands in them besides records. Empty = nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileLayout {
    /// The directory below `path`, with codes for the time.
    pub(crate) partition: String,
    /// The time zone of those codes.
    pub(crate) time_zone: String,
    /// The first bytes of each file.
    pub(crate) header: Vec<u8>,
    /// The last bytes of each file.
    pub(crate) footer: Vec<u8>,
}

/// The directory of crash-proof memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryDir {
    pub(crate) path: PathBuf,
    /// Device and inode. Each container may have a file system of its own at the same path.
    pub(crate) id: (u64, u64),
}

/// What a state file says of one worker: its temp file, and how far that is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerEntry {
    /// `None` = it had no temp file.
    pub(crate) temp: Option<TempId>,
    /// The temp file holds whole records up to here. At least `synced`.
    pub(crate) good: Watermark,
    /// An fsync covers the temp file up to here.
    pub(crate) synced: Watermark,
}
