//! How the values of options are parsed that the library has no text for: bytes of a file, names with values.
//! All others are [`bufferedwriter::text`]'s.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// The header of files, or their footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// More than the library takes, and little enough to be read from any device.
const BYTES_MAX: u64 = 64 << 10;

/// A line of text, which gets a newline if it has none; or, after `@`, a file that holds the bytes. No text
/// means no bytes.
pub(super) fn bytes(text: OsString) -> Result<Bytes, String> {
    let mut bytes = text.into_encoded_bytes();
    if bytes.starts_with(b"@") {
        let path = bytes.split_off(1);
        // SAFETY: what follows an ASCII character in such bytes is such bytes again.
        let path = PathBuf::from(unsafe { OsString::from_encoded_bytes_unchecked(path) });
        return read(&path).map(Bytes).map_err(|error| format!("{}: {error}", path.display()));
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    Ok(Bytes(bytes))
}

fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses `NAME=VALUE`. The value may have more of these signs. The library checks both.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let both = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    both.ok_or("not of the form NAME=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn bytes_of_files() {
        let said = |text: &[u8]| bytes(OsString::from_vec(text.into())).map(|bytes| bytes.0);
        for (text, expected) in [
            (&b""[..], &b""[..]),
            (b"a,b", b"a,b\n"),
            (b"a,b\n", b"a,b\n"),
            (b"a\nb", b"a\nb\n"),
            (b"\xff", b"\xff\n"),
            (b" @a", b" @a\n"),
            (b"@/dev/null", b""),
        ] {
            assert_eq!(said(text).as_deref(), Ok(expected), "{text:?}");
        }
        // A file without an end is not read to its end.
        assert_eq!(said(b"@/dev/zero").map(|bytes| bytes.len() as u64), Ok(BYTES_MAX));
        for text in [&b"@"[..], b"@/no/such/file", b"@/"] {
            assert!(said(text).is_err_and(|error| error.contains(": ")), "{text:?}");
        }
    }

    #[test]
    fn names_and_values() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        for (text, expected) in
            [("a=b", pair("a", "b")), ("a=b=c", pair("a", "b=c")), ("a=", pair("a", ""))]
        {
            assert_eq!(name_and_value(text), expected, "{text}");
        }
        assert!(name_and_value("a").is_err());
    }
}
