//! Records of the crate [log](https://docs.rs/log) into complete files.
//!
//! [`text`], [`json`] and [`logfmt`] make a logger. [`Logger::init`] makes it the program's, and returns a
//! guard that closes the files at the end of `main`:
//!
//! ```
//! use bufferedwriter::{BufferedWriter, Config};
//!
//! # let dir = std::env::temp_dir().join(format!("bw-log-doc-{}", std::process::id()));
//! let files = BufferedWriter::new(Config::default().path(&dir).create_dirs(true))?;
//! let guard = bufferedwriter_log::json(&files).filter("info,app::db=debug")?.init()?;
//!
//! log::info!(port = 80; "ready");
//!
//! let report = guard.close()?;
//! assert_eq!(report.written.records, 1);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`LogConfig`] is a logger and its files as data, from a configuration file.
//!
//! A line is encoded in the writer's memory itself: no `String`, no copy. One record of `log` is one record of
//! the writer. What the writer refuses is dropped, and [`Stats::refused`](bufferedwriter::Stats::refused) counts it.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod config;
mod line;
mod logger;
#[cfg(feature = "serde")]
mod read;

use bufferedwriter::BufferedWriter;

pub use bufferedwriter::CloseGuard;
pub use config::{InitError, LogConfig};
pub use line::Format;
pub use logger::{FilterError, Logger};

/// A logger that writes lines for people:
/// `2026-02-15T18:47:10.821315Z INFO app::db: ready port=80`.
pub fn text(files: &BufferedWriter) -> Logger {
    Logger::new(files, Format::Text)
}

/// A logger that writes JSON, with the names of the JSON of tracing-subscriber:
/// `{"timestamp":"…","level":"INFO","fields":{"message":"ready","port":80},"target":"app::db"}`.
///
/// Whatever the record holds, the line is valid. Of key-values with the same key the last one is written, and
/// none that is called `message`.
pub fn json(files: &BufferedWriter) -> Logger {
    Logger::new(files, Format::Json)
}

/// A logger that writes logfmt: `ts=… level=info message=ready port=80 target=app::db`.
pub fn logfmt(files: &BufferedWriter) -> Logger {
    Logger::new(files, Format::Logfmt)
}
