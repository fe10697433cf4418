//! A buffered file behind a lock. There is no thread of its own: the caller writes.

use std::io::{BufWriter, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::sink::{self, Closing, Target};
use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

pub struct Locked;

impl Subject for Locked {
    fn name(&self) -> &'static str {
        "Mutex<BufWriter>"
    }

    fn when_outrun(&self) -> &'static str {
        "the caller waits for the disk"
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let (out, closing) = sink::open(setup)?;
        Ok(Box::new(AtWork { out: Mutex::new(out), closing }))
    }
}

struct AtWork {
    out: Mutex<BufWriter<Target>>,
    closing: Closing,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Handle { out: &self.out })
    }

    fn settle(&self, _: Duration) -> bool {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).flush().is_ok()
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        let AtWork { out, closing } = *self;
        sink::within(timeout, move || drop(out));
        // Done already, unless the disk hangs.
        closing.wait(Duration::ZERO);
    }
}

struct Handle<'a> {
    out: &'a Mutex<BufWriter<Target>>,
}

impl Writer for Handle<'_> {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(record).is_ok()
    }
}
