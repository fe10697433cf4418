//! The program's exit codes. A leaf; `--help` and the tests say the same.

/// Everything that was read is in visible files, also after a signal.
pub(crate) const WRITTEN: u8 = 0;
/// An operation on a file failed; what was read is in visible files all the same.
pub(crate) const IO: u8 = 1;
/// An option is wrong or out of its range; nothing was read. What clap exits with, too.
pub(crate) const USAGE: u8 = 2;
/// Records that were read are not in visible files.
pub(crate) const RECORDS_MISSING: u8 = 3;
