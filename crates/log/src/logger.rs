//! The logger: which records it takes, and what it writes of them.

use std::error::Error;
use std::fmt;

use bufferedwriter::{BufferedWriter, CloseGuard};
use env_filter::Filter;
use log::{Log, Metadata, Record, SetLoggerError};

use crate::line::{Format, Line};

pub(crate) fn parse(directives: &str) -> Result<Filter, FilterError> {
    let mut builder = env_filter::Builder::new();
    let parsed = builder.try_parse(directives).map(env_filter::Builder::build);
    parsed.map_err(|error| FilterError(error.to_string()))
}

/// Writes each record as a line. Default: records of level `INFO` and above, with time, level and target.
#[must_use = "call `init` to make it the program's logger"]
pub struct Logger {
    files: BufferedWriter,
    filter: Filter,
    line: Line,
}

impl Logger {
    pub(crate) fn new(files: &BufferedWriter, format: Format) -> Self {
        let filter = env_filter::Builder::new().filter_level(log::LevelFilter::Info).build();
        Logger { files: files.clone(), filter, line: Line::new(format) }
    }

    /// Takes the records that these directives name: `LEVEL` or `TARGET=LEVEL`, with commas between them,
    /// such as `info,app::db=debug,hyper=off`.
    ///
    /// # Errors
    /// A directive can't be read.
    pub fn filter(mut self, directives: &str) -> Result<Self, FilterError> {
        self.filter = parse(directives)?;
        Ok(self)
    }

    /// Takes the directives from an environment variable, such as `RUST_LOG`. If it is not set, the filter stays.
    ///
    /// # Errors
    /// A directive can't be read, or is not Unicode.
    pub fn filter_env(self, variable: &str) -> Result<Self, FilterError> {
        match std::env::var(variable) {
            Ok(directives) => self.filter(&directives),
            Err(std::env::VarError::NotPresent) => Ok(self),
            Err(error) => Err(FilterError(format!("{variable}: {error}"))),
        }
    }

    /// Leaves out the time. Default: RFC 3339 in UTC to the microsecond.
    pub fn without_time(mut self) -> Self {
        self.line.time = false;
        self
    }

    /// Whether the target is written. Default: true.
    pub fn with_target(mut self, target: bool) -> Self {
        self.line.target = target;
        self
    }

    /// Whether the source file and its line are written, as `filename` and `line_number`. Default: false.
    pub fn with_source(mut self, source: bool) -> Self {
        self.line.source = source;
        self
    }

    /// Makes this the program's logger, and returns the guard that closes the files.
    ///
    /// Let the guard live until the end of `main`: the program keeps its logger for ever, so that nothing else
    /// closes them.
    ///
    /// # Errors
    /// The program has a logger.
    pub fn init(self) -> Result<CloseGuard, SetLoggerError> {
        let guard = self.files.guard();
        let max = self.filter.filter();
        match log::set_boxed_logger(Box::new(self)) {
            Ok(()) => {
                log::set_max_level(max);
                Ok(guard)
            }
            Err(error) => {
                guard.release();
                Err(error)
            }
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            // What is refused is counted by the writer.
            let _ = self.files.record(|out| self.line.write(out, record));
        }
    }

    /// Does nothing: files become visible whole.
    fn flush(&self) {}
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("line", &self.line).finish_non_exhaustive()
    }
}

/// A directive of a filter can't be read.
#[derive(Clone, Debug)]
pub struct FilterError(String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read log filter: {}", self.0)
    }
}

impl Error for FilterError {}
