//! tracing-appender's `NonBlocking`, called directly, without the cost of tracing itself. Its thread flushes the
//! file's buffer whenever its queue is empty.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use super::marks::Marks;
use super::sink::{self, Closing, Target};
use crate::subject::{Running, Setup, Subject, Unavailable, Writer};

pub struct TracingAppender;

impl Subject for TracingAppender {
    fn name(&self) -> &'static str {
        "tracing-appender"
    }

    fn when_outrun(&self) -> &'static str {
        "dropped, though write says Ok; counted"
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let (out, closing) = sink::open(setup)?;
        let marks = Arc::new(Marks::default());
        let (entry, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(setup.memory_records())
            .finish(Marked { out, marks: Arc::clone(&marks) });
        Ok(Box::new(AtWork { entry, guard, marks, closing }))
    }
}

struct AtWork {
    entry: NonBlocking,
    guard: WorkerGuard,
    marks: Arc<Marks>,
    closing: Closing,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Handle { entry: self.entry.clone() })
    }

    fn settle(&self, timeout: Duration) -> bool {
        self.marks.settle(timeout, |mark| {
            // Dropped if the queue is full, and sent again then.
            let _ = self.entry.clone().write_all(format!("\0{mark}").as_bytes());
        })
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        let began = Instant::now();
        // The guard's drop waits at most 1.1 s for the thread, then detaches it. If the queue is full, it prints a
        // message to standard output.
        if !self.settle(timeout) {
            self.closing.give_up();
        }
        let AtWork { entry, guard, closing, .. } = *self;
        drop(entry);
        let rest = || timeout.saturating_sub(began.elapsed());
        sink::within(rest(), move || drop(guard));
        closing.wait(rest());
    }
}

struct Handle {
    entry: NonBlocking,
}

impl Writer for Handle {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.entry.write_all(record).is_ok()
    }
}

/// The file, with a filter for marks, which begin with a zero byte as no record does.
struct Marked {
    out: BufWriter<Target>,
    marks: Arc<Marks>,
}

impl Write for Marked {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.write_all(record)?;
        Ok(record.len())
    }

    /// What tracing-appender's thread calls, once for each record.
    fn write_all(&mut self, record: &[u8]) -> io::Result<()> {
        match record.split_first() {
            Some((0, mark)) => self.marks.came_out(sink::text(mark)),
            _ => self.out.write_all(record)?,
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
