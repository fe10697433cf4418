//! A write costs about a copy; files become visible complete; nothing vanishes unnoticed.

#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
// Under loom only the memory side is compiled; parts of it serve the workers alone.
#![cfg_attr(loom, allow(dead_code))]

#[cfg(not(target_os = "linux"))]
compile_error!("bufferedwriter supports Linux only, so far");

mod append;
mod arena;
#[cfg(not(loom))]
mod background;
mod bell;
#[cfg(not(loom))]
mod bury;
mod bytes;
#[cfg(all(test, not(loom)))]
mod cases;
#[cfg(not(loom))]
mod census;
mod chain;
#[cfg(not(loom))]
mod checksum;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod control;
#[cfg(all(test, not(loom)))]
mod corpus_tests;
#[cfg(not(loom))]
mod direct;
mod error;
#[cfg(all(test, not(loom)))]
mod faults;
#[cfg(all(test, not(loom)))]
mod faulty;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod fs;
#[doc(hidden)]
#[cfg(all(any(test, fuzzing), not(loom)))]
pub mod fuzz;
#[cfg(not(loom))]
mod ground;
#[cfg(not(loom))]
mod guard;
#[cfg(all(any(test, fuzzing), not(loom)))]
mod hand;
#[cfg(not(loom))]
mod handle;
#[cfg(not(loom))]
mod health;
#[cfg(not(loom))]
mod hold;
#[cfg(all(test, not(loom)))]
mod hostile_memory_tests;
#[cfg(all(test, not(loom)))]
mod hostile_tests;
mod inbox;
mod intake;
#[cfg(not(loom))]
mod io;
#[cfg(not(loom))]
mod judge;
mod lane;
mod layout;
#[cfg(all(test, not(loom)))]
mod layout_tests;
mod lease;
#[cfg(not(loom))]
mod ledger;
#[cfg(not(loom))]
mod memory_file;
#[cfg(all(test, not(loom)))]
mod memory_fs;
mod message;
#[cfg(all(test, loom))]
mod models;
#[cfg(not(loom))]
mod name;
#[cfg(not(loom))]
mod notes;
#[cfg(not(loom))]
mod output;
#[cfg(all(test, not(loom)))]
mod output_tests;
mod pool;
#[cfg(not(loom))]
mod prefault;
#[cfg(not(loom))]
mod producer;
#[cfg(not(loom))]
mod publish;
#[cfg(not(loom))]
mod real_fs;
mod record;
#[cfg(not(loom))]
mod recover;
#[cfg(all(test, not(loom)))]
mod recover_tests;
#[cfg(not(loom))]
mod recovery;
#[cfg(not(loom))]
mod registry;
#[cfg(not(loom))]
mod relics;
#[cfg(not(loom))]
mod remains;
#[cfg(not(loom))]
mod report;
#[cfg(not(loom))]
mod rescue;
#[cfg(not(loom))]
mod search;
mod shared;
#[cfg(all(test, not(loom)))]
mod sim;
mod slot;
mod slots;
#[cfg(not(loom))]
mod staging;
#[cfg(not(loom))]
mod state;
mod stats;
#[cfg(not(loom))]
mod submit;
mod sync;
#[cfg(not(loom))]
mod trouble;
#[cfg(not(loom))]
mod vault;
#[cfg(not(loom))]
mod worker;
#[cfg(not(loom))]
mod writer;

#[cfg(not(loom))]
pub use config::{Config, CrashProof, Io, Sync};
pub use error::{Error, FlushError, SendError, WriteError};
#[cfg(not(loom))]
pub use health::{ErrorEvent, Health, Trouble};
#[cfg(not(loom))]
pub use producer::Producer;
#[cfg(not(loom))]
pub use record::Record;
#[cfg(not(loom))]
pub use recover::{RecoverOptions, recover};
#[cfg(not(loom))]
pub use recovery::{LeftAlone, LeftReason, Recovery};
#[cfg(not(loom))]
pub use report::{CloseError, Report};
pub use stats::{Count, GuardStats, Lost, Refused, Stats, WorkerStats};
#[cfg(not(loom))]
pub use writer::BufferedWriter;

/// For tests that put a file system of their own under a writer. Not a stable interface.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod testing {
    pub use crate::fs::{Facts, Fs, FsFile};
    pub use crate::real_fs::RealFs;
    pub use crate::vault::kill_at_step;
}

/// Examples of the guide, so that they compile and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/from-go.md")]
mod from_go {}
