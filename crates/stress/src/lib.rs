//! What the stress programs in `src/bin/` share: records that show whether they are whole, handles of a
//! writer, and the end of the program when a promise is broken.
//!
//! Guarantees: its own counters are relaxed atomics, so they hide no race from ThreadSanitizer.
//!
//! Layers, each may use those below it:
//!
//! - the programs in `src/bin/`, which never use each other
//! - `handle`, `record_set`
//! - `record`, `message`
//! - `random`, `failure`

pub mod failure;
pub mod handle;
pub mod message;
pub mod random;
pub mod record;
pub mod record_set;
