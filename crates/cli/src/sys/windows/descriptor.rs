//! Standard output or standard error, without std's lock and buffer.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::time::Duration;

/// Writes as the handle takes it. A thread that hangs in a write holds no lock of std, so it
/// holds up no other thread and no exit.
pub(crate) struct Descriptor(ManuallyDrop<File>);

impl Descriptor {
    pub(crate) fn stdout() -> Self {
        Self::of(&io::stdout())
    }

    pub(crate) fn stderr() -> Self {
        Self::of(&io::stderr())
    }

    fn of(stream: &impl AsRawHandle) -> Self {
        // SAFETY: the handle of a standard stream is open as long as the process, and never closed here.
        Descriptor(ManuallyDrop::new(unsafe { File::from_raw_handle(stream.as_raw_handle()) }))
    }

    /// Nobody can tell whether a write would wait.
    pub(crate) fn is_ready(&self, _: Option<Duration>) -> bool {
        true
    }
}

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
