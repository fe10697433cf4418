//! Linux, macOS, FreeBSD: signals, and descriptors that are polled.

mod descriptor;
mod files;
mod inherited;
mod input;
mod signals;

pub(crate) use descriptor::Descriptor;
pub(crate) use files::{make_readable, open_files_max, open_finished, read_at, write_all_at};
pub(crate) use inherited::{spawn, unblock};
pub(crate) use input::{Input, release_stdin};
pub(crate) use signals::Signals;

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes std call fork instead of posix_spawn(3). After a fork the writer's locks are let go at once. A spawned child
/// would hold them until it is the command, and a recovery meanwhile would think that the program lives.
pub(crate) fn fork_first(command: &mut Command) {
    // SAFETY: it does nothing, so nothing that is not safe after fork(2).
    unsafe { command.pre_exec(|| Ok(())) };
}
