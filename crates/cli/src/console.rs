//! Standard error: messages for the operator, and one line of progress that is redrawn.
//!
//! Guarantees: lines stay whole, from any thread. A terminal that fails, or is closed, does not
//! affect the program. No escape sequences, hence no colour, with or without NO_COLOR.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last line of the terminal. One per process, like standard error.
static PROGRESS: Mutex<Progress> = Mutex::new(Progress { columns: 0, ended: false });

struct Progress {
    /// Columns of the drawn line; 0 = none is drawn.
    columns: usize,
    /// Nothing is drawn any more: the summary has been printed.
    ended: bool,
}

impl Progress {
    fn lock() -> MutexGuard<'static, Self> {
        // After a panic of another thread the state is still valid, so poison does not matter.
        PROGRESS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blanks the drawn line, so that the next output begins at the left edge.
    fn erase(&mut self) -> String {
        let blank = match self.columns {
            0 => String::new(),
            columns => format!("\r{:columns$}\r", ""),
        };
        self.columns = 0;
        blank
    }
}

/// Prints one message for the operator.
pub(crate) fn report(message: impl Display) {
    let mut progress = Progress::lock();
    let blank = progress.erase();
    put(&format!("{blank}bufferedwriter: {message}\n"));
}

/// Prints an error of the command line, in the style of clap.
pub(crate) fn report_usage(message: impl Display) {
    put(&format!("error: {message}\n"));
}

/// Draws the line of progress over the previous one.
pub(crate) fn progress(text: &str) {
    let mut progress = Progress::lock();
    if progress.ended {
        return;
    }
    let columns = text.chars().count();
    let padding = progress.columns.saturating_sub(columns);
    put(&format!("\r{text}{:padding$}", ""));
    progress.columns = columns;
}

/// Removes the line of progress for good.
pub(crate) fn end_progress() {
    let mut progress = Progress::lock();
    progress.ended = true;
    let blank = progress.erase();
    put(&blank);
}

/// One write, so that lines of several processes on one terminal do not mix.
fn put(text: &str) {
    // If standard error fails, there is nowhere to report it.
    let _ = io::stderr().write_all(text.as_bytes());
}
