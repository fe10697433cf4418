//! What happens to published files: the manifest and the hook hear of them.
//!
//! Guarantees: no worker waits for a hook or a manifest, but for a bounded time while too many of its
//! files are unlisted. Refuses nothing.

pub(crate) mod journal;
pub(crate) mod lister;
pub(crate) mod manifest;
pub(crate) mod publication;
pub(crate) mod publications;
