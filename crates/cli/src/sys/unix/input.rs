//! An input: standard input, or a file named as an argument.
//!
//! Guarantees: opening never waits, and reading never waits after a poll. Every error names the
//! operation and the input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::sys::STDIN;

/// An open input.
pub(crate) struct Input {
    name: String,
    file: File,
    /// A pipe or a socket: it ends when the last program that writes to it ends.
    ends_with_its_writers: bool,
    /// Opened here, by its name, so that no read of it waits.
    never_waits: bool,
}

impl Input {
    /// Opens a file, or takes standard input for `-`. The error is a complete message.
    ///
    /// `keeps_open`: a named pipe does not end with its last writer.
    pub(crate) fn open(path: &Path, keeps_open: bool) -> Result<Self, String> {
        let (name, file) = if path.as_os_str() == STDIN {
            // A duplicate descriptor, to bypass the lock and the buffer of `io::stdin`.
            let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            ("standard input".to_owned(), file)
        } else {
            (path.display().to_string(), open_without_waiting(path, keeps_open))
        };
        let file = file.map_err(|error| format!("open {name}: {error}"))?;
        let kind = file.metadata().map(|metadata| metadata.file_type());
        let ends_with_its_writers = kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket());
        let never_waits = path.as_os_str() != STDIN;
        Ok(Input { name, file, ends_with_its_writers, never_waits })
    }

    /// The input's name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether its end may follow that of other programs. A file's does not, and a terminal's is
    /// typed.
    pub(crate) fn ends_with_its_writers(&self) -> bool {
        self.ends_with_its_writers
    }

    /// Whether a read without a poll does not wait. A named pipe that no program has opened yet has
    /// an end only for a read.
    pub(crate) fn never_waits(&self) -> bool {
        self.never_waits
    }

    /// The descriptor to poll.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads the next bytes. `Some(0)` at the end, `None` if there are none yet after all.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(into) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_early(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes that a pipe, socket or terminal holds now. They would be lost when the program ends. 0
    /// for files, which keep their bytes.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return 0;
        }
        // Devices that do not support the call hold nothing.
        let bytes = rustix::io::ioctl_fionread(&self.file).unwrap_or(0);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Lets go of standard input, once nothing more is read. Whoever writes into a pipe that no other
/// program reads then gets an error, instead of success for bytes that nobody will read.
pub(crate) fn release_stdin() {
    // If it fails, the descriptor stays open until the program ends, a moment later.
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(null);
    }
}

/// Interrupted, or no bytes yet in a descriptor that someone made non-blocking.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn open_without_waiting(path: &Path, keeps_open: bool) -> io::Result<File> {
    // NONBLOCK: otherwise the open of a named pipe waits for its writer and ignores signals; the
    // poll waits for it as well. NOCTTY: a terminal must not become our controlling terminal.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    // A pipe with a writer of our own has no end.
    let writes = keeps_open && path.metadata().is_ok_and(|found| found.file_type().is_fifo());
    let mut options = OpenOptions::new();
    let file = options.read(true).write(writes).custom_flags(flags.bits() as i32).open(path)?;
    read_ahead(&file);
    Ok(file)
}

/// Doubles the read-ahead. It is only a hint, so an error (on a pipe) does not matter.
#[cfg(not(target_os = "macos"))]
fn read_ahead(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Sequential);
}

/// macOS reads ahead by itself.
#[cfg(target_os = "macos")]
fn read_ahead(_: &File) {}
