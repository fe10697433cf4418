//! One file on the disk: written in the temp directory, renamed into place, and described for a
//! recovery.
//!
//! Guarantees: a visible file is complete. Nothing here knows chunks or callers.

pub(crate) mod aligned;
pub(crate) mod direct_io;
pub(crate) mod observe;
pub(crate) mod publish;
pub(crate) mod state_file;
pub(crate) mod temp_file;
pub(crate) mod tree;
pub(crate) mod usage;
