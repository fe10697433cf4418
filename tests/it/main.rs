//! What the library promises, seen from outside: one binary, a file per question.
//!
//! No test waits by sleeping: each waits for a condition, with a bound that only a fault reaches.
//! `BUFFEREDWRITER_RECORDS` makes the large test larger (default 300000, five million for a
//! thorough run); `BUFFEREDWRITER_TEST_LOGS` names the directory of the real logs.

#![allow(
    clippy::incompatible_msrv,
    reason = "the oldest Rust builds what is published, and no tests"
)]

use bufferedwriter::testing;

mod support;

mod accounts;
mod architecture;
mod close;
mod compression;
mod config;
mod configuration;
mod crowd;
// Crash-proof memory is of Linux alone.
#[cfg(target_os = "linux")]
mod dead_memory;
mod direct_io;
mod directories;
mod disk_full;
mod disk_guard;
mod documents;
mod dropped;
mod every_call;
mod file_age;
mod file_size;
mod flush;
mod forced;
mod foreign;
mod formatted;
mod full;
mod give_up;
mod header;
mod health;
mod io_write;
// Forbids system calls by seccomp.
#[cfg(target_os = "linux")]
mod lacking;
mod large;
// Crash-proof memory is of Linux alone.
#[cfg(target_os = "linux")]
mod lost_memory;
mod memory;
mod moved;
mod names;
mod on_error;
mod on_worker;
mod order;
mod original;
// Limits the memory of a process by rlimits, and reads /proc.
#[cfg(target_os = "linux")]
mod out_of_memory;
mod partitions;
// Takes a privilege from a thread, and reads what the kernel says of its memory.
#[cfg(target_os = "linux")]
mod populate;
mod processes;
mod publishing;
mod real_logs;
mod reconfigure;
mod recorder;
mod recovery;
mod rename;
mod retention;
mod send;
mod shutdown;
mod start;
mod stats_of;
mod stuck;
mod sync;
mod temp;
mod threads;
mod two_writers;
// Watches directories by inotify.
#[cfg(target_os = "linux")]
mod watched;
mod whole;
