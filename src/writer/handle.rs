//! One hold on a writer: whoever has one keeps the writer open.
//!
//! Guarantees: the last hold closes the writer, but not in a forked child, which neither has its workers nor
//! knows in what state they left what they share: there it stays as it is.

use std::ops::Deref;

use crate::base::sync::Arc;
use crate::writer::inner::Handle;

/// What a [`BufferedWriter`](crate::BufferedWriter) and a [`Producer`](crate::Producer) hold.
#[derive(Clone)]
pub(crate) struct Hold(Arc<Handle>);

impl Hold {
    pub(crate) fn new(handle: Handle) -> Self {
        Hold(Arc::new(handle))
    }
}

impl Deref for Hold {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.is_forked() {
            // One that is never dropped: so no other is the last one.
            std::mem::forget(self.0.clone());
        }
    }
}
