//! Standard error for the operator: messages, and one line of progress that is redrawn. Standard
//! output for programs.
//!
//! Guarantees: only [`finish`] and [`Descriptor`] wait. Lines stay whole, from any thread. Standard
//! error that fails, is closed or is not read does not affect the program. No escape sequences but
//! clap's, hence no colour, with or without NO_COLOR.

mod outbox;

use std::fmt::Display;
use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use outbox::Outbox;
pub(crate) use outbox::Patience;

pub(crate) use crate::sys::Descriptor;

/// One per process, like standard error.
static STDERR: LazyLock<Outbox> = LazyLock::new(|| Outbox::new(Descriptor::stderr()));

/// Whether details are told.
static DETAILS: AtomicBool = AtomicBool::new(false);

/// Prints one message for the operator.
pub(crate) fn report(message: impl Display) {
    STDERR.push(format!("bufferedwriter: {message}\n"));
}

/// From now on details are told.
pub(crate) fn tell_details() {
    DETAILS.store(true, Ordering::Relaxed);
}

/// Prints one message that only `--verbose` asks for.
pub(crate) fn detail(message: impl Display) {
    if DETAILS.load(Ordering::Relaxed) {
        report(message);
    }
}

/// Prints an error of the command line, in the style of clap.
pub(crate) fn report_usage(message: impl Display) {
    print(format_args!("error: {message}\n"));
}

/// Prints text as it is.
pub(crate) fn print(text: impl Display) {
    STDERR.push(text.to_string());
}

/// Draws the line of progress over the previous one.
pub(crate) fn progress(text: String) {
    STDERR.draw(text);
}

/// Removes the line of progress for good.
pub(crate) fn end_progress() {
    STDERR.end_drawing();
}

/// From now on no message is dropped. For the time when nothing else waits for the caller.
pub(crate) fn keep_all() {
    STDERR.keep_all();
}

/// Waits until everything is printed, or until patience is over.
pub(crate) fn finish(patience: Patience) {
    STDERR.finish(patience);
    // Where no thread can be had, the operator must learn that at least.
    let mut stderr = Descriptor::stderr();
    for text in STDERR.take_unserved() {
        if stderr.is_ready(patience.for_one_write()) {
            let _ = stderr.write_all(text.as_bytes());
        }
    }
}
