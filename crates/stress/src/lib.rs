//! What the stress programs share: records that tell whether they are whole, the ways into a writer, and
//! the end of the program when a promise is broken.
//!
//! Guarantees: relaxed counters only, so that no race is hidden from ThreadSanitizer.

pub mod failure;
pub mod message;
pub mod random;
pub mod record;
pub mod seen;
pub mod way;
