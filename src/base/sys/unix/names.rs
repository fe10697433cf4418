//! Names of files as bytes, which the state file keeps.
//!
//! Guarantees: any bytes are a name here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What [`permits`] permits.
pub(crate) const PERMITTED: &str = "without path separator and NUL";

/// Whether a name may have these bytes.
pub(crate) fn permits(bytes: &[u8]) -> bool {
    !bytes.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// The name's bytes.
pub(crate) fn bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}

/// The name that has these bytes. `None` where there is none.
pub(crate) fn name(bytes: &[u8]) -> Option<&OsStr> {
    Some(OsStr::from_bytes(bytes))
}

/// The same of bytes that are owned.
pub(crate) fn owned(bytes: Vec<u8>) -> Option<OsString> {
    Some(OsString::from_vec(bytes))
}
