//! The state file of one instance: it proves that the instance lives, and tells a recovery what it
//! must know once it is dead.

pub(crate) mod counters;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod format;
pub(crate) mod live;
pub(crate) mod slot_writer;
pub(crate) mod worker_state;
