//! The machine, and the user whose process this is.

use rustix::process::geteuid;

pub(crate) use crate::base::sys::native::host::{boot_id, random};

/// The user's id, as in [`Facts::uid`](crate::base::sys::Facts::uid).
pub(crate) fn user() -> u32 {
    geteuid().as_raw()
}

/// The machine's name, if it is text.
pub(crate) fn name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}
