//! What differs between operating systems: how the program waits for input and signals at once, and its standard
//! streams.
//!
//! Guarantees: only this folder asks which system it is compiled for.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{
    Descriptor, Input, Screen, Signals, ends, fork_first, make_readable, open_files_max,
    open_finished, read_at, release_stdin, spawn, unblock, write_all_at,
};
#[cfg(windows)]
pub(crate) use windows::{
    Descriptor, Input, Screen, Signals, ends, fork_first, make_readable, open_files_max,
    open_finished, read_at, release_stdin, spawn, unblock, write_all_at,
};

/// The argument that means standard input.
pub(crate) const STDIN: &str = "-";

/// What a key of the terminal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Quit,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    /// Stop until the shell says otherwise. [`Screen`] does it.
    #[cfg(unix)]
    Suspend,
    /// Draw all anew. [`Screen`] does it.
    #[cfg(unix)]
    Redraw,
}

/// What ended a wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The input has bytes, an end or an error to read.
    pub(crate) input: bool,
    /// The name of what asked the program to stop, such as SIGTERM, or on Windows Ctrl-C or a service manager's stop.
    pub(crate) stop: Option<&'static str>,
    /// SIGHUP or SIGUSR1. Windows has nothing like them.
    pub(crate) publish: bool,
}
