//! An input: standard input, or a file or pipe named as an argument.
//!
//! Guarantees: reading never waits after [`Signals::wait`](super::Signals::wait) said that there is something. Every
//! error names the operation and the input. Standard input and each pipe have a thread that reads one block ahead.
//! Refuses: to leave bytes in a pipe for the next process. What the thread has read ahead is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use windows_sys::Win32::Foundation::ERROR_PIPE_NOT_CONNECTED;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_TYPE_DISK, GetFileType, SECURITY_IDENTIFICATION,
};

use crate::sys::STDIN;
use crate::sys::windows::events::{EVENTS, changed};

/// Bytes that a thread reads at once.
const BLOCK_BYTES: usize = 256 << 10;

/// An open input.
pub(crate) struct Input {
    name: String,
    source: Source,
}

enum Source {
    File(File),
    /// What may wait in a read, and has a thread for that.
    Fed(Arc<Feed>),
}

/// Between the thread that reads an input and the one that takes what it reads.
#[derive(Default)]
struct Feed(Mutex<Fed>);

/// What was read and nobody has taken.
#[derive(Default)]
struct Fed {
    block: Vec<u8>,
    taken: usize,
    /// It has ended, or an error that is to be told.
    end: Option<Option<io::Error>>,
}

impl Fed {
    fn is_ready(&self) -> bool {
        self.taken < self.block.len() || self.end.is_some()
    }
}

impl Feed {
    /// Starts a thread that reads this.
    fn start(from: impl Read + Send + 'static) -> io::Result<Arc<Self>> {
        let feed = Arc::new(Feed::default());
        let fed = feed.clone();
        super::spawn("input", move || fed.fill(from))?;
        Ok(feed)
    }

    fn lock(&self) -> MutexGuard<'_, Fed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end, a block whenever the one before is taken.
    fn fill(&self, mut from: impl Read) {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let read = from.read(&mut block);
            let mut fed = self.lock();
            match read {
                Ok(0) => fed.end = Some(None),
                Ok(bytes) => {
                    fed.block.clear();
                    fed.block.extend_from_slice(&block[..bytes]);
                    fed.taken = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_disconnected(&error) => fed.end = Some(None),
                Err(error) => fed.end = Some(Some(error)),
            }
            let has_ended = fed.end.is_some();
            drop(fed);
            changed();
            if has_ended {
                return;
            }
            let mut events = EVENTS.lock();
            while self.lock().is_ready() {
                events = EVENTS.wait(events, None);
            }
        }
    }
}

/// Standard input, which has one thread however often it is named.
fn stdin() -> io::Result<Arc<Feed>> {
    static FEED: OnceLock<Arc<Feed>> = OnceLock::new();
    // The main thread alone opens inputs.
    if let Some(feed) = FEED.get() {
        return Ok(feed.clone());
    }
    let feed = Feed::start(io::stdin())?;
    Ok(FEED.get_or_init(|| feed).clone())
}

impl Input {
    /// Opens a file or a pipe, or takes standard input for `-`. The error is a complete message. Pipes end with their
    /// writers.
    pub(crate) fn open(path: &Path, _keeps_open: bool) -> Result<Self, String> {
        let is_stdin = path.as_os_str() == STDIN;
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let source = if is_stdin { stdin().map(Source::Fed) } else { named(path) };
        let source = source.map_err(|error| format!("open {name}: {error}"))?;
        Ok(Input { name, source })
    }

    /// The input's name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether its end may follow that of other programs. A file's does not.
    pub(crate) fn ends_with_its_writers(&self) -> bool {
        matches!(self.source, Source::Fed(_))
    }

    /// Whether a read without a wait does not wait.
    pub(crate) fn never_waits(&self) -> bool {
        true
    }

    /// Whether there is something to read.
    pub(super) fn is_ready(&self) -> bool {
        match &self.source {
            Source::File(_) => true,
            Source::Fed(feed) => feed.lock().is_ready(),
        }
    }

    /// Reads the next bytes. `Some(0)` at the end, `None` if there are none yet after all.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        let feed = match &self.source {
            Source::File(file) => return Read::read(&mut &*file, into).map(Some),
            Source::Fed(feed) => feed,
        };
        let mut fed = feed.lock();
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

    /// Bytes that were read ahead. They would be lost when the program ends.
    pub(crate) fn bytes_in_flight(&self) -> usize {
        match &self.source {
            Source::File(_) => 0,
            Source::Fed(feed) => {
                let fed = feed.lock();
                fed.block.len() - fed.taken
            }
        }
    }
}

/// Whether the pipe's server has ended it. It may wait until all is read, disconnect, and then close its end.
fn is_disconnected(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED as i32)
}

/// A file, a pipe such as `\\.\pipe\orders`, or a device. Whoever made the pipe may learn who reads it, but not act as
/// that user.
fn named(path: &Path) -> io::Result<Source> {
    let file = File::options().read(true).security_qos_flags(SECURITY_IDENTIFICATION).open(path)?;
    // SAFETY: the handle is open.
    match unsafe { GetFileType(file.as_raw_handle()) } {
        FILE_TYPE_DISK => Ok(Source::File(file)),
        // A read of anything else may wait.
        _ => Feed::start(file).map(Source::Fed),
    }
}

/// The thread may wait in a read of it, so it stays open until the program ends, a moment later.
pub(crate) fn release_stdin() {}
