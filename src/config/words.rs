//! The words of the options that choose among a few, and back: `zstd:3`, `15m`, `file`.
//!
//! Guarantees: what is written of a choice is read as the same choice. Levels and numbers are left to
//! `check.rs`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::config::text::{ParseError, count, show_size, size};
use crate::config::{Boundary, Compression, CrashProof, Durability, Io, Recorder};

/// `none`, `gzip`, `gzip:LEVEL`, `zstd` or `zstd:LEVEL`. Without a level, gzip has 6 and zstd 3.
impl FromStr for Compression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (codec, level) = match text.split_once(':') {
            Some((codec, level)) => {
                let number = level.parse::<i64>();
                let wrong = |_| ParseError::new("the level of a codec is a whole number");
                (codec, Some(number.map_err(wrong)?))
            }
            None => (text, None),
        };
        match (codec, level) {
            ("none", None) => Ok(Compression::None),
            ("gzip", level) => gzip(level.unwrap_or(6)),
            ("zstd", level) => zstd(level.unwrap_or(3)),
            #[cfg(test)]
            ("doubled", None) => Ok(Compression::Doubled),
            _ => Err(ParseError::new("not one of none, gzip, gzip:LEVEL, zstd, zstd:LEVEL")),
        }
    }
}

#[cfg(feature = "gzip")]
fn gzip(level: i64) -> Result<Compression, ParseError> {
    let wrong = |_| ParseError::new("gzip has levels 0 to 9");
    level.try_into().map(Compression::Gzip).map_err(wrong)
}

#[cfg(not(feature = "gzip"))]
fn gzip(_: i64) -> Result<Compression, ParseError> {
    Err(ParseError::new("gzip needs the feature `gzip` of bufferedwriter"))
}

#[cfg(feature = "zstd")]
fn zstd(level: i64) -> Result<Compression, ParseError> {
    let wrong = |_| ParseError::new("zstd has levels -7 to 19");
    level.try_into().map(Compression::Zstd).map_err(wrong)
}

#[cfg(not(feature = "zstd"))]
fn zstd(_: i64) -> Result<Compression, ParseError> {
    Err(ParseError::new("zstd needs the feature `zstd` of bufferedwriter"))
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::None => f.write_str("none"),
            #[cfg(feature = "gzip")]
            Compression::Gzip(level) => write!(f, "gzip:{level}"),
            #[cfg(feature = "zstd")]
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
            #[cfg(test)]
            Compression::Doubled => f.write_str("doubled"),
        }
    }
}

/// `never`, `minute`, `hour`, `day`, or a number of minutes or hours, such as `15m` or `6h`.
impl FromStr for Boundary {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "minute" => return Ok(Boundary::Minutes(1)),
            "hour" => return Ok(Boundary::Hours(1)),
            "day" => return Ok(Boundary::Day),
            "never" => return Ok(Boundary::Never),
            _ => {}
        }
        let number = |digits| count(digits).ok();
        let minutes = text.strip_suffix('m').and_then(number).map(Boundary::Minutes);
        let hours = || text.strip_suffix('h').and_then(number).map(Boundary::Hours);
        let why = "not a boundary, such as minute, 15m, hour, 6h, day or never";
        minutes.or_else(hours).ok_or_else(|| ParseError::new(why))
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Boundary::Never => f.write_str("never"),
            Boundary::Minutes(minutes) => write!(f, "{minutes}m"),
            Boundary::Hours(hours) => write!(f, "{hours}h"),
            Boundary::Day => f.write_str("day"),
        }
    }
}

/// `none` or `file`.
impl FromStr for Durability {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "none" => Ok(Durability::None),
            "file" => Ok(Durability::File),
            _ => Err(ParseError::new("not one of none, file")),
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::None => "none",
            Durability::File => "file",
        })
    }
}

/// `auto`, `direct` or `buffered`.
impl FromStr for Io {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "auto" => Ok(Io::Auto),
            "direct" => Ok(Io::Direct),
            "buffered" => Ok(Io::Buffered),
            _ => Err(ParseError::new("not one of auto, direct, buffered")),
        }
    }
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Io::Auto => "auto",
            Io::Direct => "direct",
            Io::Buffered => "buffered",
        })
    }
}

/// `off`, `whole`, or a size such as `64MiB`.
impl FromStr for Recorder {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "off" => Ok(Recorder::Off),
            "whole" => Ok(Recorder::Whole),
            // What exceeds the address space is out of range too, and `check` says so.
            _ => size(text)
                .map(|bytes| Recorder::Last(usize::try_from(bytes).unwrap_or(usize::MAX)))
                .map_err(|_| ParseError::new("not one of off, whole, SIZE such as 64MiB")),
        }
    }
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recorder::Off => f.write_str("off"),
            Recorder::Whole => f.write_str("whole"),
            Recorder::Last(bytes) => f.write_str(&show_size(*bytes as u64)),
        }
    }
}

/// `off`, `auto`, or a directory with a `/`. So a word with a typing error is no directory.
pub(crate) fn crash_proof(text: &Path) -> Result<CrashProof, ParseError> {
    match text.to_str() {
        Some("off") => Ok(CrashProof::Off),
        Some("auto") => Ok(CrashProof::Auto),
        _ if text.as_os_str().as_encoded_bytes().contains(&b'/') => {
            Ok(CrashProof::Dir(text.into()))
        }
        _ => Err(ParseError::new("not one of off, auto, or a directory such as /dev/shm")),
    }
}

pub(crate) fn show_crash_proof(crash_proof: &CrashProof) -> PathBuf {
    match crash_proof {
        CrashProof::Off => "off".into(),
        CrashProof::Auto => "auto".into(),
        CrashProof::Dir(dir) if dir.as_os_str().as_encoded_bytes().contains(&b'/') => dir.clone(),
        CrashProof::Dir(dir) => Path::new(".").join(dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        for (text, expected) in [
            ("never", Boundary::Never),
            ("minute", Boundary::Minutes(1)),
            ("15m", Boundary::Minutes(15)),
            ("hour", Boundary::Hours(1)),
            ("6h", Boundary::Hours(6)),
            ("day", Boundary::Day),
            ("7m", Boundary::Minutes(7)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string().parse(), Ok(expected), "{text}");
        }
        for text in ["", "m", "15", "+5m", "-5m", "1.5h", "1d", "week", "Day", "99999999999m"] {
            assert!(text.parse::<Boundary>().is_err(), "{text}");
        }
    }

    #[cfg(all(feature = "gzip", feature = "zstd"))]
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
            assert_eq!(text.parse(), Ok(expected), "{text}");
            assert_eq!(expected.to_string().parse(), Ok(expected), "{text}");
        }
        for text in [
            "", "none:1", "gz", "gzip:", "gzip:x", "zstd:1.5", "zstd:3:4", "gzip:-1", "lz4", "ZSTD",
        ] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_word_with_a_typing_error_is_no_directory() {
        let there = CrashProof::Dir("/mem".into());
        for (text, expected) in
            [("off", CrashProof::Off), ("auto", CrashProof::Auto), ("/mem", there)]
        {
            assert_eq!(crash_proof(Path::new(text)), Ok(expected.clone()), "{text}");
            assert_eq!(show_crash_proof(&expected), Path::new(text));
        }
        assert!(crash_proof(Path::new("atuo")).is_err());
        assert!(crash_proof(Path::new("")).is_err());
        assert_eq!(show_crash_proof(&CrashProof::Dir("auto".into())), Path::new("./auto"));
    }
}
