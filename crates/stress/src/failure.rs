//! The end of the program when a promise is broken: one line, exit code 1. A leaf.

use std::fmt::Display;
use std::process::exit;

/// Says what was not so, and ends the program, whatever the other threads do.
pub fn fail(what: &str) -> ! {
    eprintln!("bufferedwriter-stress: FAILED: {what}");
    exit(1)
}

/// What must go well here.
pub fn expect<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(&format!("{what}: {error}")))
}
