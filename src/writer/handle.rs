//! A handle of a writer: whoever has one keeps the writer open.
//!
//! Guarantees: the last handle closes the writer, but not in a forked child, which neither has its workers nor
//! knows in what state they left what they share: there it stays as it is.

use std::ops::Deref;

use crate::base::sync::Arc;
use crate::writer::inner::Inner;

/// What a [`BufferedWriter`](crate::BufferedWriter) and a [`Producer`](crate::Producer) hold.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Inner>);

impl Handle {
    pub(crate) fn new(inner: Inner) -> Self {
        Handle(Arc::new(inner))
    }
}

impl Deref for Handle {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.is_forked() {
            // One that is never dropped: so no other is the last one.
            std::mem::forget(self.0.clone());
        }
    }
}
