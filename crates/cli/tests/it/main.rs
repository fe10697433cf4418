//! What users rely on, asked of the built program; a file per question.

#![allow(
    clippy::incompatible_msrv,
    reason = "the oldest Rust builds what is published, and no tests"
)]

mod clock;
mod compress;
mod configuration;
mod crash_proof;
mod disk;
mod disk_guard;
mod header;
mod help;
mod hostile;
mod inherited;
mod input;
mod long_line;
mod memory;
mod merge;
mod metrics;
mod names;
mod outputs;
mod partition;
mod pty;
mod publish;
mod recorder;
mod recover;
mod reload;
mod retention;
mod rotation;
mod round_trip;
mod ship;
mod signals;
mod stats;
mod stop;
mod terminal;
mod unread;
mod usage;
mod verify;
mod watch;
