//! The memory between callers and workers: chunks, their leases, and their way to a worker and
//! back. A chunk is `size` bytes of memory that one thread fills.
//!
//! Knows nothing of files and their names.

pub(crate) mod arena;
pub(crate) mod byte_ptr;
pub(crate) mod chunk_header;
#[cfg(not(loom))]
pub(crate) mod crash_image;
#[cfg(not(loom))]
pub(crate) mod crash_mapping;
pub(crate) mod fifo;
pub(crate) mod inbox;
pub(crate) mod message;
pub(crate) mod parker;
pub(crate) mod pool;
#[cfg(not(loom))]
pub(crate) mod prefault;
pub(crate) mod ring;
pub(crate) mod shard;
pub(crate) mod shared;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod tasks;

#[cfg(not(loom))]
pub(crate) use shared::Mailbox;
pub(crate) use shared::Shared;
