//! The counters in a state file: what a writer tells other processes of itself. `format.rs` has the place.
//!
//! There are two slots. A refresh writes over the older one, so the other one is whole whatever happens meanwhile. A
//! slot ends with a checksum, and a reader takes the newest one whose checksum is right. It reads again if there is
//! none: the writer has refreshed twice during its read.
//!
//! ```text
//! slot            0  generation u64, goes up by one at every refresh; 0 = never used
//!                 8  started u64, nanoseconds since 1970    16  refreshed u64, the same
//!                24  time from the start to the refresh u64, in nanoseconds
//!                32  numbers u64, in the order of `write::numbers`
//!               512  64 bytes for each worker: 8 numbers u64, in the order of `write::row`
//!               ...  texts: number u16, length u16, UTF-8; number 0 ends them
//!            end-8  checksum of all before
//! ```
//!
//! Guarantees: decoding never panics, reads no more than it is given, and takes nothing with a wrong checksum. Errors
//! arrive as their texts. Texts without room are left out. Refuses nothing.

mod layout;
mod read;
mod write;

pub(crate) use layout::{Counters, FIRST, Times, slot_bytes};
pub(crate) use read::newest;
pub(crate) use write::{body, first_slots, slot};
