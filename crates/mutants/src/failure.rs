//! Why the program can't go on.

use std::fmt::Display;
use std::path::Path;

/// What is told.
pub type Failure = String;

/// Adds the path that an error is about.
pub fn about<E: Display>(path: &Path) -> impl Fn(E) -> Failure {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}
