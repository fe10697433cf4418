//! File systems for tests: one in memory, and the machine's own with faults.

pub(crate) mod faulty;
pub(crate) mod memory;
