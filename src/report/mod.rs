//! Values that users get: errors, counts, health, and the results of a close and of a recovery.
//!
//! Plain values: no atomics, no locks, no I/O.

#[cfg(not(loom))]
pub(crate) mod close;
pub(crate) mod dump;
pub(crate) mod error;
#[cfg(not(loom))]
pub(crate) mod health;
#[cfg(not(loom))]
pub(crate) mod instance;
#[cfg(not(loom))]
pub(crate) mod published;
#[cfg(not(loom))]
pub(crate) mod recovery;
#[cfg(all(feature = "serde", not(loom)))]
mod serialize;
pub(crate) mod stats;
