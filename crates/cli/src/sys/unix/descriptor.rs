//! Standard output or standard error, without std's lock and buffer.
//!
//! Guarantees: a descriptor that another process made non-blocking is waited for like any other. Its
//! flags, which all processes share that have it, are never changed.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Writes as the descriptor takes it. A thread that hangs in a write holds no lock of std, so it
/// holds up no other thread and no exit.
pub(crate) struct Descriptor<'a>(BorrowedFd<'a>);

impl Descriptor<'static> {
    pub(crate) fn stdout() -> Self {
        Descriptor(rustix::stdio::stdout())
    }

    pub(crate) fn stderr() -> Self {
        Descriptor(rustix::stdio::stderr())
    }
}

impl Descriptor<'_> {
    /// Whether it takes bytes within this time; `None` = without limit.
    pub(crate) fn is_ready(&self, within: Option<Duration>) -> bool {
        let timeout = within.and_then(|within| Timespec::try_from(within).ok());
        poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], timeout.as_ref()).is_ok_and(|n| n > 0)
    }
}

impl Write for Descriptor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(self.0, bytes) {
                // If the wait is interrupted, the next write says so again.
                Err(Errno::AGAIN) => _ = self.is_ready(None),
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn all_of_it_passes_through_a_descriptor_that_does_not_wait() {
        let (mut reader, writer) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let bytes: Vec<u8> = (0..4 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                Descriptor(writer.as_fd()).write_all(&bytes).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{} of {} bytes", read.len(), bytes.len());
        });
    }
}
