//! Standard error: lines for the operator, and one line of progress that is drawn over.
//!
//! Guarantees: whole lines, from any thread; no failure of the terminal reaches the program (it may
//! be closed); no escape sequence, hence no colour, with or without NO_COLOR.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is on the last line of the terminal. One per process, as standard error is.
static PROGRESS: Mutex<Progress> = Mutex::new(Progress { columns: 0, ended: false });

struct Progress {
    /// Columns that the drawn line takes; 0 = none is drawn.
    columns: usize,
    /// Nothing is drawn any more: the summary is out.
    ended: bool,
}

impl Progress {
    fn lock() -> MutexGuard<'static, Self> {
        // Poison means that another thread panicked in between; the state is valid all the same.
        PROGRESS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blanks the drawn line, so that what follows begins at the left edge.
    fn erase(&mut self) -> String {
        let blank = match self.columns {
            0 => String::new(),
            columns => format!("\r{:columns$}\r", ""),
        };
        self.columns = 0;
        blank
    }
}

/// One line for the operator.
pub(crate) fn report(message: impl Display) {
    let mut progress = Progress::lock();
    let blank = progress.erase();
    put(&format!("{blank}bufferedwriter: {message}\n"));
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

/// Takes the line of progress away for good.
pub(crate) fn end_progress() {
    let mut progress = Progress::lock();
    progress.ended = true;
    let blank = progress.erase();
    put(&blank);
}

/// One write, so that lines of several processes on one terminal do not mix.
fn put(text: &str) {
    // Nowhere is left to report to when standard error fails.
    let _ = io::stderr().write_all(text.as_bytes());
}
