//! How the values of options are parsed: sizes, durations, permissions, boundaries of the clock, bytes of a
//! file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use bufferedwriter::{Boundary, Compression};
use bytesize::ByteSize;

/// Parses whole bytes. Fractions are refused, since they may round to 0, which often has a special
/// meaning. A value beyond 64 bits is refused, since it would be cut.
pub(super) fn size(text: &str) -> Result<u64, String> {
    if text.contains('.') {
        return Err("must be a whole number, such as 1536 or 64KiB".to_owned());
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(u64::MAX)) => Err("does not fit 64 bits".to_owned()),
        Ok(bytes) => Ok(bytes.as_u64()),
        Err(_) => Err("not a size, such as 8192, 8KB or 64KiB".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    // Zero needs no unit.
    if text == "0" { Ok(Duration::ZERO) } else { humantime::parse_duration(text) }
}

pub(super) fn octal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // The parser would take a sign.
    if !digits.starts_with(|c: char| c.is_digit(8)) {
        return Err("not an octal number, such as 0640".to_owned());
    }
    u32::from_str_radix(digits, 8).map_err(|error| error.to_string())
}

/// Parses a codec, with or without a level. The library checks the level.
pub(super) fn compression(text: &str) -> Result<Compression, String> {
    let (codec, level) = match text.split_once(':') {
        Some((codec, level)) => {
            let number: i32 = level.parse().map_err(|_| format!("{level:?} is not a level"))?;
            (codec, Some(number))
        }
        None => (text, None),
    };
    match (codec, level) {
        ("none", None) => Ok(Compression::None),
        ("gzip", None) => Ok(Compression::Gzip(6)),
        ("gzip", Some(level)) => {
            level.try_into().map(Compression::Gzip).map_err(|_| "gzip has levels 0 to 9".to_owned())
        }
        ("zstd", level) => Ok(Compression::Zstd(level.unwrap_or(3))),
        _ => Err("not one of none, gzip, gzip:LEVEL, zstd, zstd:LEVEL".to_owned()),
    }
}

/// The library checks the numbers.
pub(super) fn boundary(text: &str) -> Result<Boundary, String> {
    match text {
        "minute" => return Ok(Boundary::Minutes(1)),
        "hour" => return Ok(Boundary::Hours(1)),
        "day" => return Ok(Boundary::Day),
        "never" => return Ok(Boundary::Never),
        _ => {}
    }
    // The parser would take a sign.
    let number = |digits: &str| digits.parse().ok().filter(|_| !digits.starts_with('+'));
    let minutes = text.strip_suffix('m').and_then(number).map(Boundary::Minutes);
    let hours = || text.strip_suffix('h').and_then(number).map(Boundary::Hours);
    minutes.or_else(hours).ok_or("not a boundary, such as minute, 15m, hour, 6h or day".to_owned())
}

/// The header of files, or their footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// More than the library takes, and little enough to be read from any device.
const BYTES_MAX: u64 = 64 << 10;

/// A line of text, which gets a newline if it has none; or, after `@`, a file that holds the bytes. No text
/// means no bytes.
pub(super) fn bytes(text: OsString) -> Result<Bytes, String> {
    if let Some(path) = text.as_bytes().strip_prefix(b"@") {
        let path = Path::new(OsStr::from_bytes(path));
        return read(path).map(Bytes).map_err(|error| format!("{}: {error}", path.display()));
    }
    let mut bytes = text.into_vec();
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    Ok(Bytes(bytes))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
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

    #[test]
    fn compressions() {
        for (text, expected) in [
            ("none", Compression::None),
            ("gzip", Compression::Gzip(6)),
            ("gzip:0", Compression::Gzip(0)),
            ("zstd", Compression::Zstd(3)),
            ("zstd:-7", Compression::Zstd(-7)),
            ("zstd:19", Compression::Zstd(19)),
        ] {
            assert_eq!(compression(text), Ok(expected), "{text}");
        }
        for text in [
            "", "none:1", "gz", "gzip:", "gzip:x", "zstd:1.5", "zstd:3:4", "gzip:-1", "lz4", "ZSTD",
        ] {
            assert!(compression(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("8192", 8192),
            ("8KB", 8000),
            ("8kB", 8000),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("64k", 64_000),
            ("1GiB", 1 << 30),
            ("12B", 12),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in
            ["", "-1", "+1KiB", "1.5KiB", "0.5", "KiB", "8 apples", "99999999999EiB", "1e3", "0x10"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [("0", 0), ("0s", 0), ("100ms", 100), ("5s", 5000), ("1m30s", 90_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "-5s", "s", "1.5.5s", "5 apples"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn boundaries() {
        for (text, expected) in [
            ("minute", Boundary::Minutes(1)),
            ("15m", Boundary::Minutes(15)),
            ("hour", Boundary::Hours(1)),
            ("6h", Boundary::Hours(6)),
            ("day", Boundary::Day),
            ("7m", Boundary::Minutes(7)),
        ] {
            assert_eq!(boundary(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "15", "+5m", "-5m", "1.5h", "1d", "week", "Day", "99999999999m"] {
            assert!(boundary(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, mode) in [("0640", 0o640), ("640", 0o640), ("0o640", 0o640), ("0", 0)] {
            assert_eq!(octal(text), Ok(mode), "{text}");
        }
        for text in ["", "8", "+640", "-640", "0x1ff", "77777777777777", "rw-r--r--"] {
            assert!(octal(text).is_err(), "{text}");
        }
    }
}
