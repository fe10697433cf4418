//! The visible names, taken apart independently of the library:
//! `{prefix}{20261122T194030.123456789Z}-{instance, 16 hex}-{pid}-w{worker}-{seq}.{extension}`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// 26 characters that sort as the moments do.
    pub stamp: String,
    pub instance: String,
    pub pid: u32,
    pub worker: usize,
    pub seq: u64,
}

impl Name {
    pub fn parse(name: &OsStr, prefix: &[u8], extension: &[u8]) -> Option<Name> {
        let mut bytes = name.as_bytes().strip_prefix(prefix)?;
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
