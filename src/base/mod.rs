//! Building blocks that every layer may use: atomics or loom, waiting, forks, checksums.

#[cfg(not(loom))]
pub(crate) mod checksum;
pub(crate) mod foreign;
pub(crate) mod latch;
#[cfg(not(loom))]
pub(crate) mod le;
pub(crate) mod oneshot;
pub(crate) mod sync;
#[cfg(not(loom))]
pub(crate) mod sys;
#[cfg(not(loom))]
pub(crate) mod thread;
