//! An input: standard input, or a file named as an argument.
//!
//! Guarantees: reading never waits after [`Signals::wait`](super::Signals::wait) said that there is something. Every
//! error names the operation and the input. A thread reads standard input, one block ahead.
//! Refuses: to leave bytes in a pipe for the next process. What the thread has read ahead is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;

use crate::sys::STDIN;
use crate::sys::windows::events::{EVENTS, changed};

/// Bytes that the thread reads at once.
const BLOCK_BYTES: usize = 256 << 10;

/// An open input.
pub(crate) struct Input {
    name: String,
    source: Source,
}

enum Source {
    File(File),
    /// Standard input, whose bytes come through [`Fed`].
    Fed,
}

/// What the thread has read of standard input and nobody has taken. There is one for the process.
pub(super) struct Fed {
    block: Vec<u8>,
    taken: usize,
    /// It has ended, or an error that is to be told.
    end: Option<Option<io::Error>>,
    is_started: bool,
}

pub(super) static FED: Mutex<Fed> =
    Mutex::new(Fed { block: Vec::new(), taken: 0, end: None, is_started: false });

impl Fed {
    pub(super) fn is_ready(&self) -> bool {
        self.taken < self.block.len() || self.end.is_some()
    }
}

fn fed() -> std::sync::MutexGuard<'static, Fed> {
    FED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads standard input, a block whenever the one before is taken.
fn feed() {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = io::stdin().lock().read(&mut block);
        let mut fed = fed();
        match read {
            Ok(0) => fed.end = Some(None),
            Ok(bytes) => {
                fed.block.clear();
                fed.block.extend_from_slice(&block[..bytes]);
                fed.taken = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => fed.end = Some(Some(error)),
        }
        let has_ended = fed.end.is_some();
        drop(fed);
        changed();
        if has_ended {
            return;
        }
        let mut events = EVENTS.lock();
        while self::fed().is_ready() {
            events = EVENTS.wait(events, None);
        }
    }
}

impl Input {
    /// Opens a file, or takes standard input for `-`. The error is a complete message. Pipes that are files by name
    /// end with their writers.
    pub(crate) fn open(path: &Path, _keeps_open: bool) -> Result<Self, String> {
        if path.as_os_str() != STDIN {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| format!("open {name}: {error}"))?;
            return Ok(Input { name, source: Source::File(file) });
        }
        let name = "standard input".to_owned();
        if !std::mem::replace(&mut fed().is_started, true) {
            super::spawn("stdin", feed).map_err(|error| format!("open {name}: {error}"))?;
        }
        Ok(Input { name, source: Source::Fed })
    }

    /// The input's name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether its end may follow that of other programs. A file's does not.
    pub(crate) fn ends_with_its_writers(&self) -> bool {
        matches!(self.source, Source::Fed)
    }

    /// Whether a read without a wait does not wait.
    pub(crate) fn never_waits(&self) -> bool {
        true
    }

    /// Whether there is something to read.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.source, Source::File(_)) || fed().is_ready()
    }

    /// Reads the next bytes. `Some(0)` at the end, `None` if there are none yet after all.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if let Source::File(file) = &self.source {
            return Read::read(&mut &*file, into).map(Some);
        }
        let mut fed = fed();
        let bytes = into.len().min(fed.block.len() - fed.taken);
        if bytes > 0 {
            into[..bytes].copy_from_slice(&fed.block[fed.taken..fed.taken + bytes]);
            fed.taken += bytes;
            drop(fed);
            changed();
            return Ok(Some(bytes));
        }
        match &mut fed.end {
            None => Ok(None),
            Some(error) => error.take().map_or(Ok(Some(0)), Err),
        }
    }

    /// Bytes of standard input that were read ahead. They would be lost when the program ends.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        let fed = fed();
        if matches!(self.source, Source::Fed) { fed.block.len() - fed.taken } else { 0 }
    }
}

/// The thread may wait in a read of it, so it stays open until the program ends, a moment later.
pub(crate) fn release_stdin() {}
