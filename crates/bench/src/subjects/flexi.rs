//! flexi_logger in its asynchronous mode, with a format that is the message and no more. Its queue has no
//! bound, and its thread makes a system call for each record: the asynchronous mode has no file buffer.

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

/// Where records go that nobody wants.
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
            // Vectors that are used again, enough for a burst, each with room for a record.
            pool_capa: 1024,
            message_capa: setup.record_bytes + 1,
            // The file has no buffer: a thread that flushes would do nothing, forever.
            flush_interval: Duration::ZERO,
        };
        let path = match setup.sink {
            Sink::Null => PathBuf::from(NOWHERE),
            Sink::Files => setup.file(),
        };
        let (logger, handle) = build(path, mode).map_err(|error| Unavailable(error.to_string()))?;
        // What `log`'s macros ask first, and what `Logger::start` would set. Process-wide, but nobody else
        // here uses `log`.
        log::set_max_level(LevelFilter::Info);
        Ok(Box::new(AtWork { logger, handle: Arc::new(handle), mode }))
    }
}

/// A logger of our own rather than the process's one.
fn build(path: PathBuf, mode: WriteMode) -> Result<(Box<dyn Log>, LoggerHandle), FlexiLoggerError> {
    Logger::with(LogSpecification::info())
        .log_to_file(FileSpec::try_from(path)?)
        .format(only_message)
        .write_mode(mode)
        // A line on standard error for each record of a full disk; what is lost shows in the file.
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

    /// It tells nobody what waits, and lets no mark through.
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
            // Its thread can't be stopped: what may be many gigabytes goes nowhere, and soon. This takes a
            // lock that the thread holds while the disk hangs, hence nobody waits for it either.
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
