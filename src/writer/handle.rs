//! A handle of a writer. A handle keeps its writer open.
//!
//! Guarantees: the drop of the last handle closes the writer, except in a forked child. The child
//! has no workers and can't know in what state they left the shared memory, so there the writer
//! stays as it is.

use std::ops::Deref;

use crate::base::sync::Arc;
use crate::writer::inner::Inner;

/// The shared part of a [`BufferedWriter`](crate::BufferedWriter) and a
/// [`Producer`](crate::Producer).
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
            // Leak one handle, so that no other is the last one.
            std::mem::forget(self.0.clone());
        }
    }
}
