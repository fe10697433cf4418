//! What happens to published files: old ones are deleted, and a link leads to the newest.
//!
//! Guarantees: all of it runs on a thread of its own, which exists only if an option asks for it.
//! Workers hand over the path of a file that became visible and wait for nothing. Errors are kept
//! for users to see, and what failed is tried again. Calls no user code.

pub(crate) mod background;
pub(crate) mod latest;
pub(crate) mod notices;
pub(crate) mod retention;
