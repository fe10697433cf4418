//! Signals as bytes in pipes, polled together with the input.
//!
//! Guarantees: a signal ends a wait at once, even one that came just before the wait. Signals that
//! the parent had blocked are heard; those that it ignored stay ignored. The handlers only write a
//! byte.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};

use crate::sys::Arrived;
use crate::sys::unix::inherited::{self, unblock};
use crate::sys::unix::input::Input;

/// The signals that the program handles, each with its own pipe so that none hides another.
pub(crate) struct Signals {
    caught: Vec<Caught>,
}

/// A signal, and the read end of a pipe that gets a byte for each.
struct Caught {
    signal: i32,
    pipe: UnixStream,
}

impl Signals {
    /// Catches the signals. From then on they no longer end the process.
    pub(crate) fn catch(ignore_interrupts: bool) -> io::Result<Self> {
        if ignore_interrupts {
            inherited::ignore(SIGINT);
        }
        // A file that reaches the limit of `ulimit -f` is then an ordinary error, not the end of
        // the process.
        if !inherited::is_ignored(SIGXFSZ) {
            signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        }
        let mut caught = Vec::new();
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
            if !inherited::is_ignored(signal) {
                caught.push(Caught { signal, pipe: pipe(signal)? });
            }
        }
        // Only now, so that one that is pending does not end the process.
        unblock();
        Ok(Signals { caught })
    }

    /// Waits for a signal or for the input. A timeout of `None` = without limit. May return early
    /// with nothing.
    pub(crate) fn wait(
        &self,
        input: Option<&Input>,
        timeout: Option<Duration>,
    ) -> io::Result<Arrived> {
        self.wait_for(input.map(Input::fd), timeout)
    }

    fn wait_for(
        &self,
        input: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Arrived> {
        let wanted = PollFlags::IN;
        let pipes = self.caught.iter().map(|caught| PollFd::new(&caught.pipe, wanted));
        let mut fds: Vec<_> = pipes.collect();
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
        let input = ready.get(self.caught.len()) == Some(&true);
        let mut arrived = Arrived { input, ..Arrived::default() };
        for (caught, ready) in self.caught.iter().zip(ready) {
            if ready && drain(&caught.pipe)? {
                match caught.signal {
                    SIGHUP | SIGUSR1 => arrived.publish = true,
                    SIGINT => arrived.stop = Some("SIGINT"),
                    _ => arrived.stop = Some("SIGTERM"),
                }
            }
        }
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

/// Reads all bytes and returns whether there were any.
fn drain(mut pipe: &UnixStream) -> io::Result<bool> {
    let mut any = false;
    loop {
        match pipe.read(&mut [0; 64]) {
            Ok(0) => return Ok(any),
            Ok(_) => any = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
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
        [SIGTERM, SIGINT, SIGHUP, SIGUSR1].into_iter().for_each(inherited::reset);
        let signals = Signals::catch(false).unwrap();
        let (input, mut feed) = UnixStream::pair().unwrap();
        let wait = || signals.wait_for(Some(input.as_fd()), Some(Duration::from_secs(10))).unwrap();
        let now = || signals.wait_for(Some(input.as_fd()), Some(Duration::ZERO)).unwrap();
        assert_eq!(now(), Arrived::default());

        feed.write_all(b"x").unwrap();
        assert_eq!(wait(), Arrived { input: true, ..Arrived::default() });

        for (signal, name) in [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")] {
            signal_hook::low_level::raise(signal).unwrap();
            signal_hook::low_level::raise(signal).unwrap();
            signal_hook::low_level::raise(SIGHUP).unwrap();
            assert_eq!(wait(), Arrived { input: true, stop: Some(name), publish: true });
            assert_eq!(now(), Arrived { input: true, ..Arrived::default() }, "each is told once");
        }
    }
}
