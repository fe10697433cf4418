//! Processes do not fork here, so nothing is inherited that was not meant to be.

use std::fs::File;

/// Stands for a descriptor that forked children close.
pub(crate) struct ClosedInChild;

impl ClosedInChild {
    pub(crate) fn new(_: &File) -> Self {
        ClosedInChild
    }

    /// Whether this process still owns it: always.
    pub(crate) fn end(&self) -> bool {
        true
    }
}

/// Makes something that children must not inherit.
pub(crate) fn undisturbed<T, E>(mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    make()
}
