//! What happens to published files: the manifest and the hook hear of them, old ones are deleted, and
//! a link leads to the newest.
//!
//! Guarantees: all of it runs on threads of its own, which exist only if an option asks for them. No
//! worker waits for a hook or a manifest, but for a bounded time while too many of its files are
//! unlisted; it waits for nothing else. Errors are kept for users to see, and what failed is tried
//! again. Refuses nothing.

pub(crate) mod announcer;
pub(crate) mod background;
mod hook;
pub(crate) mod journal;
pub(crate) mod latest;
pub(crate) mod lister;
pub(crate) mod manifest;
pub(crate) mod notices;
pub(crate) mod protection;
pub(crate) mod publication;
pub(crate) mod publications;
mod queue;
pub(crate) mod retention;
mod unread;
