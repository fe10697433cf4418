//! Writes records to files off the hot path: a write costs about one copy, files appear complete,
//! and every loss is counted.
//!
// Markdown takes the first definition of a link. So links lead to pages of this documentation here, and to files in
// the repository; see CONTRIBUTING.md.
#![doc = include_str!("../docs/rustdoc-links.md")]
#![cfg_attr(doc, doc = include_str!("../docs/benchmarks/latency-1.uri"))]
#![cfg_attr(doc, doc = include_str!("../docs/benchmarks/events.uri"))]
#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
// loom builds only the memory side, so code that only workers use looks dead there.
#![cfg_attr(loom, allow(dead_code))]

mod accept;
mod base;
#[cfg(not(loom))]
mod codec;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod fs;
#[cfg(not(loom))]
mod housekeeping;
mod memory;
#[cfg(not(loom))]
mod naming;
#[cfg(not(loom))]
mod recovery;
mod report;
#[cfg(any(test, fuzzing))]
mod tests;
mod worker;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use accept::formatted::RecordWriter;
#[cfg(not(loom))]
pub use config::{Boundary, Compression, Config, CrashProof, Durability, Io, Recorder, text};
#[cfg(not(loom))]
pub use file::observe::stats_of;
#[cfg(not(loom))]
pub use naming::file_name::FileName;
#[cfg(not(loom))]
pub use recovery::{RecoverOptions, recover};
#[cfg(not(loom))]
pub use report::close::{CloseError, CloseReport};
#[cfg(not(loom))]
pub use report::dump::{DumpError, DumpOptions, Dumped};
pub use report::error::{Error, FlushError, SendError, WriteError};
#[cfg(not(loom))]
pub use report::health::{ErrorEvent, Health, Stall};
#[cfg(not(loom))]
pub use report::instance::{InstanceStats, Refresh};
#[cfg(not(loom))]
pub use report::published::{BoxError, HookStall, ManifestStall, PublishReason, PublishedFile};
#[cfg(not(loom))]
pub use report::recovery::{Recovery, SkipReason, Skipped};
pub use report::stats::{
    Count, GuardStats, Lost, Missing, PublishStats, Refused, RetentionStats, Stats, WorkerStats,
};
#[cfg(not(loom))]
pub use writer::BufferedWriter;
#[cfg(not(loom))]
pub use writer::guard::CloseGuard;
#[cfg(not(loom))]
pub use writer::producer::Producer;

/// Entry point for the fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
pub use tests::recovery::fuzz;

/// For tests that put their own file system under a writer. Not a stable interface.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod testing {
    pub use crate::base::sys::Errno;
    pub use crate::fs::real::RealFs;
    pub use crate::fs::{Entry, Facts, Fs, FsDir, FsFile};
    pub use crate::writer::async_calls::waiting_tasks;
}

/// The guide. Its examples are compiled and run as doc tests.
///
#[cfg(all(any(doc, doctest), not(loom)))]
#[doc = include_str!("../docs/rustdoc-links.md")]
#[doc = include_str!("../docs/guide/README.md")]
pub mod guide {
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/options.md")]
    pub mod options {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/configuration.md")]
    pub mod configuration {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/metrics.md")]
    pub mod metrics {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/stats.md")]
    pub mod stats {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/files.md")]
    pub mod files {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/compression.md")]
    pub mod compression {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/publishing.md")]
    pub mod publishing {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/shippers.md")]
    pub mod shippers {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/fleet.md")]
    pub mod fleet {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/failures.md")]
    pub mod failures {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/async.md")]
    pub mod async_calls {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/tracing.md")]
    pub mod tracing {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/crashes.md")]
    pub mod crashes {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/recorder.md")]
    pub mod recorder {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/program.md")]
    pub mod program {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/merge.md")]
    pub mod merge {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/verify.md")]
    pub mod verify {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/servers.md")]
    pub mod servers {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/from-tracing-appender.md")]
    pub mod from_tracing_appender {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/from-go.md")]
    pub mod from_go {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/retention.md")]
    pub mod retention {}
    #[doc = include_str!("../docs/rustdoc-links.md")]
    #[doc = include_str!("../docs/guide/platforms.md")]
    pub mod platforms {}
}
