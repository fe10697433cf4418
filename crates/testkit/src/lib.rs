//! What the project's own tests share, and no user needs. It knows nothing of the library, whose own tests use it.

pub mod clock;
pub mod dir;
pub mod emulated;
pub mod message;
pub mod name;
pub mod os;
pub mod planted;
pub mod process;
pub mod random;
pub mod record;
pub mod record_set;
pub mod shm;
pub mod unpacked;
pub mod wait;
