//! What lines are read from: standard input, or a file named as an argument.
//!
//! Guarantees: opening and reading never wait when called after a poll; every error names the
//! operation and the input.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Advice, OFlags};

/// The argument that means standard input.
pub(crate) const STDIN: &str = "-";

/// An open input.
pub(crate) struct Input {
    name: String,
    file: File,
}

impl Input {
    /// Opens a file, or takes standard input for `-`. The error is ready to be reported.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let (name, file) = if path.as_os_str() == STDIN {
            // A descriptor of its own, past the lock and the buffer of `io::stdin`.
            let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            ("standard input".to_owned(), file)
        } else {
            (path.display().to_string(), open_without_waiting(path))
        };
        match file {
            Ok(file) => Ok(Input { name, file }),
            Err(error) => Err(format!("open {name}: {error}")),
        }
    }

    /// How messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// To wait for it.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The next bytes; `Some(0)` at the end, `None` where there are none yet after all.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(into) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_early(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes that a pipe, socket or terminal holds right now, which nobody would read after us.
    /// 0 for files, which stay.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        if self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return 0;
        }
        // Devices without a notion of it hold nothing.
        let bytes = rustix::io::ioctl_fionread(&self.file).unwrap_or(0);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// Interrupted, or nothing there in a descriptor that somebody made non-blocking.
fn is_early(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

fn open_without_waiting(path: &Path) -> io::Result<File> {
    // NONBLOCK: the open of a named pipe would wait for its writer, deaf to signals; a poll waits
    // for it as well. NOCTTY: a terminal must not become ours.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    // Twice the read-ahead; only a hint, so that a refusal (a pipe) does not matter.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
    Ok(file)
}
