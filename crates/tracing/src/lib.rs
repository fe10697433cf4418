//! Events of [tracing](https://docs.rs/tracing) into complete files.
//!
//! [`writer`] makes what `tracing_subscriber::fmt()` writes to, and a [`Guard`] that closes the files.
//! It takes the place of `tracing_appender::non_blocking`:
//!
//! ```
//! use bufferedwriter::{BufferedWriter, Config};
//!
//! # let dir = std::env::temp_dir().join(format!("bw-tracing-doc-{}", std::process::id()));
//! let files = BufferedWriter::new(Config::default().path(&dir).create_dirs(true))?;
//! let (writer, guard) = bufferedwriter_tracing::writer(&files);
//! tracing_subscriber::fmt().with_writer(writer).init();
//!
//! tracing::info!(answer = 42, "ready");
//!
//! let report = guard.close()?;
//! assert_eq!(report.written.records, 1);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A subscriber that was set with `init` keeps its writer for ever, so nothing is closed when the
//! program ends. Only the guard closes it: let it live until the end of `main`.
//!
//! ```compile_fail
//! #![deny(unused_must_use)]
//! # let files = bufferedwriter::BufferedWriter::new(bufferedwriter::Config::default()).unwrap();
//! bufferedwriter_tracing::writer(&files); // the guard is missing
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod event;
mod guard;

use bufferedwriter::BufferedWriter;

pub use event::{Event, EventWriter};
pub use guard::{Guard, OnClose};

/// What a subscriber writes to, and the guard that closes it.
///
/// Each event is one record, so it is never torn across files, whatever number of calls write it.
/// Colour codes are left out. An event that the writer refuses is dropped: nobody waits, nothing is
/// printed, and [`Stats::refused`](bufferedwriter::Stats::refused) counts it.
///
/// The guard closes `files` for everybody who writes to it.
#[must_use = "without the guard the last events are lost"]
pub fn writer(files: &BufferedWriter) -> (EventWriter, Guard) {
    (EventWriter::new(files.clone()), Guard::new(files.clone()))
}
