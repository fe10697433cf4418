//! macOS and FreeBSD: right, and slower than Linux. No test has run there: this is only compiled.

pub(crate) mod barrier;
pub(crate) mod file;
pub(crate) mod host;
pub(crate) mod memory;

pub(crate) use crate::base::sys::no_crash_file as crash_file;
