//! flexi_logger in its asynchronous mode, with a format that is only the message. Its queue has no bound, and its
//! thread makes a system call for each record: the asynchronous mode has no file buffer.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flexi_logger::writers::FileLogWriter;
use flexi_logger::{DeferredNow, ErrorChannel, FileSpec, FlexiLoggerError, LogSpecification};
use flexi_logger::{Logger, LoggerHandle, WriteMode};
use log::{LevelFilter, Log, Record};

use super::sink;
use crate::subject::{Running, Setup, Sink, Subject, Unavailable, Writer};

/// Where unwanted records go.
const NOWHERE: &str = "/dev/null";

pub struct Flexi;

impl Subject for Flexi {
    fn name(&self) -> &'static str {
        "flexi_logger"
    }

    fn when_outrun(&self) -> &'static str {
        "memory grows without bound"
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let mode = WriteMode::AsyncWith {
            // Reusable vectors, enough for a burst, each with room for a record.
            pool_capa: 1024,
            message_capa: setup.record_bytes + 1,
            // No flushing thread, since the file has no buffer.
            flush_interval: Duration::ZERO,
        };
        let path = match setup.sink {
            Sink::Null => PathBuf::from(NOWHERE),
            Sink::Files => setup.file(),
        };
        let (logger, handle) = build(path, mode).map_err(|error| Unavailable(error.to_string()))?;
        // What `log`'s macros check first and `Logger::start` would set. It is process-wide, but no other subject
        // uses `log`.
        log::set_max_level(LevelFilter::Info);
        Ok(Box::new(AtWork { logger, handle: Arc::new(handle), mode }))
    }
}

/// A logger of this subject's own, not the process-wide one.
fn build(path: PathBuf, mode: WriteMode) -> Result<(Box<dyn Log>, LoggerHandle), FlexiLoggerError> {
    Logger::with(LogSpecification::info())
        .log_to_file(FileSpec::try_from(path)?)
        .format(only_message)
        .write_mode(mode)
        // Otherwise a full disk makes a line on standard error for each record. Losses show in the file.
        .error_channel(ErrorChannel::DevNull)
        .build()
}

fn only_message(
    out: &mut dyn Write,
    _: &mut DeferredNow,
    record: &Record,
) -> Result<(), std::io::Error> {
    out.write_fmt(*record.args())
}

struct AtWork {
    logger: Box<dyn Log>,
    handle: Arc<LoggerHandle>,
    mode: WriteMode,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        Box::new(Handle { logger: &*self.logger })
    }

    /// It tells no queue length and passes no marks.
    fn settle(&self, _: Duration) -> bool {
        false
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        let AtWork { logger, handle, mode } = *self;
        let still = Arc::clone(&handle);
        let end = move || {
            handle.shutdown();
            drop(logger);
        };
        if !sink::within(timeout, end) {
            // Its thread can't be stopped, so the rest of its queue, maybe gigabytes, goes to /dev/null. That
            // takes a lock which the thread holds while the disk hangs, so nothing waits for it either.
            sink::within(Duration::ZERO, move || {
                let nowhere = FileSpec::try_from(NOWHERE).map(FileLogWriter::builder);
                let _ = nowhere.and_then(|to| still.reset_flw(&to.write_mode(mode)));
            });
        }
    }
}

struct Handle<'a> {
    logger: &'a dyn Log,
}

impl Writer for Handle<'_> {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        log::info!(logger: self.logger, "{}", sink::text(sink::without_newline(record)));
        true
    }
}
