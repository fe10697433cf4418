//! The state file of one instance: the proof that it lives, and what a recovery must know if not.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod format;
pub(crate) mod live;
