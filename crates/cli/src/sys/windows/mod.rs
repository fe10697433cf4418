//! Windows: console events in place of signals, and a thread that reads standard input.

mod descriptor;
mod events;
mod files;
mod input;
mod signals;

pub(crate) use descriptor::Descriptor;
pub(crate) use files::{make_readable, open_files_max, open_finished, read_at, write_all_at};
pub(crate) use input::{Input, release_stdin};
pub(crate) use signals::Signals;

use std::io;
use std::process::Command;
use std::thread::{self, JoinHandle};

/// Console events can't be blocked, so there is nothing to undo.
pub(crate) fn unblock() {}

/// Starts a thread. Console events have threads of their own.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// A child inherits no handle of a writer here.
pub(crate) fn fork_first(_: &mut Command) {}
