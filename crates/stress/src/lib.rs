//! What the stress programs in `src/bin/` share. It reads a writer's visible files, wraps handles of a writer,
//! and ends the program when a promise is broken.
//!
//! Guarantees: its own counters are relaxed atomics, so they hide no race from ThreadSanitizer.
//!
//! Layers, each may use those below it:
//!
//! - the programs in `src/bin/`, which never use each other
//! - `handle`, `visible`
//! - `message`
//! - `failure`

pub mod failure;
pub mod handle;
pub mod message;
pub mod visible;
