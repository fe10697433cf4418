//! Divides producers into shards. The chunks of one shard share a free list and a path into each
//! worker's inbox.
//!
//! With one shard, threads that swap at the same time would get each other's chunks, whose lines
//! are in the other's cache. They would also contend for the same word
//! (docs/benchmarks/choices.md).

/// Models have two, so that there is another one.
pub(crate) const SHARDS: usize = if cfg!(loom) { 2 } else { 8 };

/// The shard of a producer.
#[inline(always)]
pub(crate) fn of(producer: u64) -> usize {
    producer as usize % SHARDS
}
