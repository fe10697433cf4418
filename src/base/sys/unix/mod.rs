//! What Linux, macOS and FreeBSD share.

pub(crate) mod dir;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod host;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod signals;
pub(crate) mod threads;
