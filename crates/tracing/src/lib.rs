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

mod buffer;
mod layer;
mod make_writer;

use bufferedwriter::BufferedWriter;

/// What [`writer`], [`json`] and [`logfmt`] return beside their first part.
pub use bufferedwriter::CloseGuard as Guard;
pub use layer::{BufferSpans, EventCounts, EventLayer};
pub use make_writer::{Event, EventWriter};

/// What a subscriber writes to, and the guard that closes it.
///
/// Each event is one record, so it is never torn across files, whatever number of calls write it.
/// Colour codes are left out. An event that the writer refuses is dropped: nobody waits, nothing is
/// printed, and [`Stats::refused`](bufferedwriter::Stats::refused) counts it.
///
/// The guard closes `files` for everybody who writes to it.
#[must_use = "without the guard the last events are lost"]
pub fn writer(files: &BufferedWriter) -> (EventWriter, Guard) {
    (EventWriter::new(files.clone()), files.guard())
}

/// A layer that writes each event as a line of JSON, and the guard that closes the files.
///
/// Fields, names and options are those of `tracing_subscriber::fmt().json()`. The line is encoded in the writer's
/// memory itself, and a span's fields are encoded once. Whatever a field holds, the line is valid JSON: a `Debug` that
/// fails ends its string, and of fields with the same name the last one stays. An event whose `Debug` panics is
/// dropped and counted in [`Refused::format`](bufferedwriter::Refused::format).
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("bw-tracing-json-{}", std::process::id()));
/// # let config = bufferedwriter::Config::default().path(&dir).create_dirs(true);
/// # let files = bufferedwriter::BufferedWriter::new(config)?;
/// use tracing_subscriber::prelude::*;
///
/// let (layer, guard) = bufferedwriter_tracing::json(&files);
/// tracing_subscriber::registry().with(layer).init();
///
/// // {"timestamp":"2026-02-15T18:47:10.821315Z","level":"INFO","fields":{"message":"ready","port":80},"target":"app"}
/// tracing::info!(port = 80, "ready");
///
/// assert_eq!(guard.close()?.written.records, 1);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A refused event is dropped, and the guard closes `files` for everybody, as with [`writer`].
#[must_use = "without the guard the last events are lost"]
pub fn json(files: &BufferedWriter) -> (EventLayer, Guard) {
    (EventLayer::new(files.clone(), layer::Syntax::Json), files.guard())
}

/// A layer that writes each event as a line of logfmt, and the guard that closes the files.
///
/// ```text
/// ts=2026-02-15T18:47:10.821315Z level=info message=ready port=80 target=app span=request request.id=7
/// ```
///
/// A value is in quotes if it has a space, `=`, a quote or a control character, or is empty. A span's field has the
/// span's name before its own. Otherwise it is as [`json`].
#[must_use = "without the guard the last events are lost"]
pub fn logfmt(files: &BufferedWriter) -> (EventLayer, Guard) {
    (EventLayer::new(files.clone(), layer::Syntax::Logfmt), files.guard())
}
