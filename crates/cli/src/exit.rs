//! The program's exit codes, as `--help` and the tests state them.

/// All lines that were read are in visible files, also after a signal.
pub(crate) const WRITTEN: u8 = 0;
/// An operation on a file failed, but all lines that were read are in visible files.
pub(crate) const IO: u8 = 1;
/// An option is wrong or out of its range, and nothing was read. clap exits with this code too.
pub(crate) const USAGE: u8 = 2;
/// Lines that were read are not in visible files.
pub(crate) const RECORDS_MISSING: u8 = 3;
