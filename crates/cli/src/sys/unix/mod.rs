//! Linux, macOS, FreeBSD: signals, and descriptors that are polled.

mod ansi;
mod descriptor;
mod files;
mod inherited;
mod input;
mod keys;
mod screen;
mod signals;

pub(crate) use descriptor::Descriptor;
pub(crate) use files::{make_readable, open_files_max, open_finished, read_at, write_all_at};
pub(crate) use inherited::{spawn, unblock};
pub(crate) use input::{Input, release_stdin};
pub(crate) use screen::Screen;
pub(crate) use signals::Signals;

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the command start with no signal blocked, though the thread that starts it blocks them all: else neither `timeout` nor
/// Ctrl-C would end it. That needs fork in place of posix_spawn(3), which is right for another reason, too: after a fork the
/// writer's locks are let go at once. A spawned child would hold them until it is the command, and a recovery meanwhile
/// would think that the program lives.
pub(crate) fn fork_first(command: &mut Command) {
    // SAFETY: it makes only calls that may be made after fork(2).
    unsafe { command.pre_exec(inherited::release) };
}

/// Whoever started the program hears of its end by the system.
pub(crate) fn ends(_: u8) {}
