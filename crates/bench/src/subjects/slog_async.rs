//! slog-async, which drops records when its channel is full and reports that in the log later. Its drain writes
//! only the message.

use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slog::{Drain, Logger, OwnedKVList, Record};
use slog_async::{Async, AsyncGuard, OverflowStrategy};

use super::marks::Marks;
use super::sink::{self, Closing, Target};
use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

/// The tag of a mark.
const MARK: &str = "mark";

pub struct SlogAsync;

impl Subject for SlogAsync {
    fn name(&self) -> &'static str {
        "slog-async"
    }

    fn when_outrun(&self) -> &'static str {
        "dropped, reported later"
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let (out, closing) = sink::open(setup)?;
        let marks = Arc::new(Marks::default());
        let (drain, guard) = Async::new(Raw { out: Mutex::new(out), marks: Arc::clone(&marks) })
            .chan_size(setup.memory_records())
            .overflow_strategy(OverflowStrategy::DropAndReport)
            .build_with_guard();
        let logger = Logger::root(drain.fuse(), slog::o!());
        Ok(Box::new(AtWork { logger, guard, marks, closing }))
    }
}

struct AtWork {
    logger: Logger,
    guard: AsyncGuard,
    marks: Arc<Marks>,
    closing: Closing,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Handle { logger: self.logger.clone() })
    }

    fn settle(&self, timeout: Duration) -> bool {
        self.marks.settle(timeout, |mark| slog::info!(self.logger, #MARK, "{}", mark))
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        let AtWork { logger, guard, closing, .. } = *self;
        drop(logger);
        // The guard's drop waits for the thread, without a timeout.
        sink::within(timeout, move || drop(guard));
        closing.wait(Duration::ZERO);
    }
}

struct Handle {
    logger: Logger,
}

impl Writer for Handle {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        slog::info!(self.logger, "{}", sink::text(record));
        true
    }
}

struct Raw {
    /// A lock, since a drain gets no `&mut`; only slog-async's thread takes it.
    out: Mutex<BufWriter<Target>>,
    marks: Arc<Marks>,
}

impl Drain for Raw {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record, _: &OwnedKVList) -> Result<(), slog::Never> {
        match record.tag() {
            "" => {
                let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
                // Losses by an error show in the file.
                let _ = out.write_fmt(*record.msg());
            }
            MARK => self.marks.came_out(&record.msg().to_string()),
            // slog-async's own report of dropped records.
            _ => {}
        }
        Ok(())
    }
}
