//! Producers by eighths: chunks of those in one shard share a free list, and a way into each worker's inbox.
//!
//! With one shard, threads that swap at the same time would get each other's chunks, whose lines are then in
//! the other's cache, and exchange the same word (docs/benchmarks/choices.md).

/// In models two, so that there is another one.
pub(crate) const SHARDS: usize = if cfg!(loom) { 2 } else { 8 };

/// The shard of a producer.
#[inline(always)]
pub(crate) fn of(producer: u64) -> usize {
    producer as usize % SHARDS
}
