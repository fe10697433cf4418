//! Windows has no signals that a thread could take: it starts a thread for each console event.

/// Blocks nothing.
pub(crate) struct Blocked;

impl Blocked {
    pub(crate) fn new() -> Self {
        Blocked
    }
}
