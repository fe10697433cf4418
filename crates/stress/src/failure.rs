//! The end of the program when a promise is broken: one line on standard error, exit code 1.

use std::fmt::Display;
use std::process::exit;

/// Says which promise was broken and ends the program, whatever the other threads do.
pub fn fail(what: &str) -> ! {
    eprintln!("bufferedwriter-stress: FAILED: {what}");
    exit(1)
}

/// The value of a step that must succeed; ends the program if it did not.
pub fn expect<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(&format!("{what}: {error}")))
}
