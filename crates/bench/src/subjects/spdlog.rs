//! spdlog, the usual asynchronous logger in C++, and its ring of messages that nobody has asked for yet, where it is
//! installed (Debian: libspdlog-dev).
//!
//! Each place in its queue takes some 400 bytes from the start. With short records a queue for as many records as
//! the other subjects hold therefore takes more memory than theirs.

use crate::subject::{Running, Setup, Subject, Unavailable};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spdlog {
    Asynchronous,
    /// `enable_backtrace`.
    Ring,
}

impl Subject for Spdlog {
    fn name(&self) -> &'static str {
        match self {
            Spdlog::Asynchronous => "spdlog (C++)",
            Spdlog::Ring => "spdlog (C++), recorder",
        }
    }

    fn is_extra(&self) -> bool {
        *self == Spdlog::Ring
    }

    fn lands(&self) -> bool {
        *self == Spdlog::Asynchronous
    }

    fn when_outrun(&self) -> &'static str {
        "the oldest is overwritten, counted"
    }

    #[cfg(not(spdlog))]
    fn start(&self, _: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        Err(Unavailable("skipped: libspdlog-dev is not installed".into()))
    }

    #[cfg(spdlog)]
    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        match self {
            Spdlog::Asynchronous => installed::start(setup),
            Spdlog::Ring => installed::ring(setup),
        }
    }
}

#[cfg(spdlog)]
mod installed {
    use std::ffi::{CStr, CString, c_char, c_void};
    use std::os::unix::ffi::OsStrExt;
    use std::ptr::{self, NonNull};
    use std::time::Duration;

    use crate::subject::{Running, Setup, Sink, Unavailable, Writer};
    use crate::subjects::sink;

    unsafe extern "C" {
        fn bench_spdlog_start(
            path: *const c_char,
            records: usize,
            buffer_bytes: usize,
            error: *mut c_char,
            error_bytes: usize,
        ) -> *mut c_void;
        fn bench_spdlog_ring(records: usize, error: *mut c_char, error_bytes: usize)
        -> *mut c_void;
        fn bench_spdlog_write(at_work: *mut c_void, bytes: *const c_char, length: usize);
        fn bench_spdlog_waiting(at_work: *mut c_void) -> usize;
        fn bench_spdlog_end(at_work: *mut c_void);
    }

    pub fn start(setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let path = match setup.sink {
            Sink::Null => None,
            Sink::Files => Some(
                CString::new(setup.file().as_os_str().as_bytes())
                    .map_err(|error| Unavailable(error.to_string()))?,
            ),
        };
        let path = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
        let mut error = [0_u8; 256];
        // SAFETY: `path` is null or ends in a zero byte, and `error` is as long as said.
        let at_work = unsafe {
            let (records, buffer_bytes) = (setup.memory_records(), setup.buffer_bytes);
            bench_spdlog_start(path, records, buffer_bytes, error.as_mut_ptr().cast(), error.len())
        };
        running(at_work, &error)
    }

    pub fn ring(setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let mut error = [0_u8; 256];
        // SAFETY: `error` is as long as said.
        let at_work = unsafe {
            bench_spdlog_ring(setup.memory_records(), error.as_mut_ptr().cast(), error.len())
        };
        running(at_work, &error)
    }

    fn running(at_work: *mut c_void, error: &[u8]) -> Result<Box<dyn Running>, Unavailable> {
        match NonNull::new(at_work) {
            Some(at_work) => Ok(Box::new(AtWork { at_work })),
            None => {
                let why = CStr::from_bytes_until_nul(error).unwrap_or_default();
                Err(Unavailable(why.to_string_lossy().into_owned()))
            }
        }
    }

    struct AtWork {
        /// From `bench_spdlog_start` or `bench_spdlog_ring`; freed by the drop.
        at_work: NonNull<c_void>,
    }

    // SAFETY: a logger and a thread pool of spdlog may be used by all threads at once, and ended by any.
    unsafe impl Send for AtWork {}
    // SAFETY: a logger and a thread pool of spdlog may be used by all threads at once.
    unsafe impl Sync for AtWork {}

    impl Drop for AtWork {
        fn drop(&mut self) {
            // SAFETY: the pointer is valid until here, and writers borrow `self`: none is left.
            unsafe { bench_spdlog_end(self.at_work.as_ptr()) }
        }
    }

    impl Running for AtWork {
        fn writer(&self) -> Box<dyn Writer + '_> {
            Box::new(Handle { to: self })
        }

        fn settle(&self, timeout: Duration) -> bool {
            // SAFETY: the pointer is valid while `self` lives.
            let waiting = || unsafe { bench_spdlog_waiting(self.at_work.as_ptr()) };
            sink::wait_until(timeout, || waiting() == 0)
        }

        fn finish(self: Box<Self>, timeout: Duration) {
            // After the timeout its thread goes on until its queue is empty.
            sink::within(timeout, move || drop(self));
        }
    }

    struct Handle<'a> {
        to: &'a AtWork,
    }

    impl Writer for Handle<'_> {
        #[inline]
        fn write(&mut self, record: &[u8]) -> bool {
            let message = sink::without_newline(record);
            // SAFETY: the pointer is valid while `to` lives, and the message is as long as said.
            unsafe {
                let to = self.to.at_work.as_ptr();
                bench_spdlog_write(to, message.as_ptr().cast(), message.len());
            }
            true
        }
    }
}
