//! One file on the disk: written in a temp directory, renamed into place, described for a recovery.
//!
//! Guarantees: a visible file is complete. Nothing here knows of chunks or of callers.

pub(crate) mod aligned;
pub(crate) mod direct_io;
pub(crate) mod publish;
pub(crate) mod state_file;
pub(crate) mod temp_file;
pub(crate) mod usage;
