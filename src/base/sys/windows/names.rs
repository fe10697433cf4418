//! Names of files as bytes, which the state file keeps.
//!
//! Guarantees: UTF-8 is the name that it spells. Refuses: other bytes, and so names with lone surrogates.

use std::ffi::{OsStr, OsString};

/// What [`permits`] permits.
pub(crate) const PERMITTED: &str =
    "without \\ / : * ? \" < > | and control characters, which no file's name has";

/// Whether a name may have these bytes. Behind a colon would stand a stream within a file, which no listing shows.
pub(crate) fn permits(bytes: &[u8]) -> bool {
    !bytes.iter().any(|&byte| byte < b' ' || b"\\/:*?\"<>|".contains(&byte))
}

/// The name's bytes.
pub(crate) fn bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}

/// The name that has these bytes. `None` where there is none.
pub(crate) fn name(bytes: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(bytes).ok().map(OsStr::new)
}

/// The same of bytes that are owned.
pub(crate) fn owned(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}
