//! The names of visible files, taken apart independently of the library, for tests that must not trust its own parser:
//! `{prefix}{20261122T194030.123456789Z}-{instance, 16 hex}-{pid}-w{worker}-{seq}.{extension}`.

use std::ffi::OsStr;

/// The parts of a name, in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// 26 characters that sort as the moments do.
    pub stamp: String,
    /// Of the writer, 16 hexadecimal digits.
    pub instance: String,
    /// Of the writer's process.
    pub pid: u32,
    /// Number of the worker within its writer.
    pub worker: usize,
    /// Number of the file within its worker.
    pub seq: u64,
}

impl Name {
    /// None if it is no such name with these affixes.
    pub fn parse(name: &OsStr, prefix: &[u8], extension: &[u8]) -> Option<Name> {
        let mut bytes = name.as_encoded_bytes().strip_prefix(prefix)?;
        if !extension.is_empty() {
            bytes = bytes.strip_suffix(extension)?.strip_suffix(b".")?;
        }
        let parts: Vec<&str> = std::str::from_utf8(bytes).ok()?.split('-').collect();
        let [stamp, instance, pid, worker, seq] = parts[..] else { return None };
        let digits = |text: &str, pattern: &str| {
            let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
            text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(fits)
        };
        let hex = instance.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits(stamp, "00000000T000000.000000000Z") || instance.len() != 16 || !hex {
            return None;
        }
        Some(Name {
            stamp: stamp.to_owned(),
            instance: instance.to_owned(),
            pid: pid.parse().ok()?,
            worker: worker.strip_prefix('w')?.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_others_are_none() {
        let parse = |name: &str| Name::parse(name.as_ref(), b"p_", b"log");
        let name = parse("p_20261122T194030.123456789Z-00000000000000ff-7-w3-42.log").unwrap();
        assert_eq!(
            (&*name.stamp, &*name.instance),
            ("20261122T194030.123456789Z", "00000000000000ff")
        );
        assert_eq!((name.pid, name.worker, name.seq), (7, 3, 42));
        for other in [
            "20261122T194030.123456789Z-00000000000000ff-7-w3-42.log",
            "p_20261122T194030.123456789Z-00000000000000ff-7-w3-42",
            "p_20261122T194030.12345678Z-00000000000000ff-7-w3-42.log",
            "p_20261122T194030.123456789Z-00000000000000FF-7-w3-42.log",
            "p_20261122T194030.123456789Z-00000000000000ff-7-3-42.log",
            ".p_20261122T194030.123456789Z-00000000000000ff-7-w3-42.log.tmp",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
