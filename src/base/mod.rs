//! What every layer stands on: atomics or loom, waiting, forks, checksums.

#[cfg(not(loom))]
pub(crate) mod checksum;
#[cfg(not(loom))]
pub(crate) mod fork;
pub(crate) mod latch;
pub(crate) mod sync;
