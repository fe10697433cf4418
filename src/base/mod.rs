//! Building blocks that every layer may use: atomics or loom, waiting, forks, checksums.

#[cfg(not(loom))]
pub(crate) mod checksum;
pub(crate) mod foreign;
#[cfg(not(loom))]
pub(crate) mod fork;
#[cfg(not(loom))]
pub(crate) mod lacking;
pub(crate) mod latch;
#[cfg(not(loom))]
pub(crate) mod le;
#[cfg(not(loom))]
pub(crate) mod lock;
pub(crate) mod oneshot;
#[cfg(not(loom))]
pub(crate) mod resident;
pub(crate) mod sync;
#[cfg(not(loom))]
pub(crate) mod thread;
