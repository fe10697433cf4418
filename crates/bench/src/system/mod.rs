//! What the kernel and the processor tell and do: clocks, counters, the disk's speed, places for threads and
//! files. Knows no subject and no measure.

pub mod affinity;
pub mod clock;
pub mod disk;
pub mod machine;
pub mod page_cache;
pub mod process;
pub mod scratch;
pub mod syscalls;
