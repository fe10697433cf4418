//! Linux: the fast paths.

pub(crate) mod barrier;
pub(crate) mod crash_file;
pub(crate) mod file;
pub(crate) mod host;
pub(crate) mod memory;
