//! Signals as bytes in pipes, polled together with the input.
//!
//! Guarantees: a signal ends a wait at once, even one that came just before the wait. Each signal
//! is counted; two that the system delivers as one count once. The handlers only write a byte.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// The signals that the program handles, each with its own pipe so that none hides another.
pub(crate) struct Signals {
    term: UnixStream,
    int: UnixStream,
    hup: UnixStream,
}

/// What ended a wait.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The input has bytes, an end or an error to read.
    pub(crate) input: bool,
    /// Number of SIGTERM and SIGINT.
    pub(crate) stops: usize,
    /// The name of one of them.
    pub(crate) stop_name: Option<&'static str>,
    /// SIGHUP.
    pub(crate) publish: bool,
}

impl Signals {
    /// Catches the signals. From then on they no longer end the process.
    pub(crate) fn catch() -> io::Result<Self> {
        // A file that reaches the limit of `ulimit -f` is then an ordinary error, not the end of
        // the process.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        Ok(Signals { term: pipe(SIGTERM)?, int: pipe(SIGINT)?, hup: pipe(SIGHUP)? })
    }

    /// Waits for a signal or for the input. A timeout of `None` = without limit. May return early
    /// with nothing.
    pub(crate) fn wait(
        &self,
        input: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Arrived> {
        let wanted = PollFlags::IN;
        let mut fds = vec![
            PollFd::new(&self.term, wanted),
            PollFd::new(&self.int, wanted),
            PollFd::new(&self.hup, wanted),
        ];
        fds.extend(input.map(|fd| PollFd::from_borrowed_fd(fd, wanted)));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            // The handler has written to its pipe. The next wait sees it.
            Err(rustix::io::Errno::INTR) => return Ok(Arrived::default()),
            Err(error) => return Err(error.into()),
        }
        // Any event counts: a read finds out whether it is the end (HUP) or an error of the input.
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut arrived = Arrived { input: ready.get(3) == Some(&true), ..Arrived::default() };
        for (pipe, ready, name) in
            [(&self.term, ready[0], "SIGTERM"), (&self.int, ready[1], "SIGINT")]
        {
            let count = if ready { drain(pipe)? } else { 0 };
            if count > 0 {
                arrived.stops += count;
                arrived.stop_name = Some(name);
            }
        }
        arrived.publish = ready[2] && drain(&self.hup)? > 0;
        Ok(arrived)
    }
}

/// Returns the read end of a pipe that gets a byte for each of these signals.
fn pipe(signal: i32) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, write)?;
    Ok(read)
}

/// Reads all bytes and returns how many there were.
fn drain(mut pipe: &UnixStream) -> io::Result<usize> {
    let mut count = 0;
    loop {
        match pipe.read(&mut [0; 64]) {
            Ok(0) => return Ok(count),
            Ok(bytes) => count += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    /// One test for all: signals belong to the process, and all tests share one.
    #[test]
    fn signals_and_input_end_a_wait() {
        let signals = Signals::catch().unwrap();
        let (input, mut feed) = UnixStream::pair().unwrap();
        let wait = || signals.wait(Some(input.as_fd()), Some(Duration::from_secs(10))).unwrap();
        let now = || signals.wait(Some(input.as_fd()), Some(Duration::ZERO)).unwrap();
        assert_eq!(now(), Arrived::default());

        feed.write_all(b"x").unwrap();
        assert_eq!(wait(), Arrived { input: true, ..Arrived::default() });

        signal_hook::low_level::raise(SIGTERM).unwrap();
        signal_hook::low_level::raise(SIGTERM).unwrap();
        signal_hook::low_level::raise(SIGINT).unwrap();
        signal_hook::low_level::raise(SIGHUP).unwrap();
        let arrived = wait();
        assert_eq!((arrived.stops, arrived.publish, arrived.input), (3, true, true));
        assert_eq!(now(), Arrived { input: true, ..Arrived::default() }, "each is told once");
    }
}
