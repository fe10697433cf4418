//! The name of a complete file, for programs that read our files.

use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use crate::base::sys::names as sys;
use crate::naming::names::{Names, TEMP_END};
use crate::naming::parse::parse;
use crate::naming::stamp::Stamp;

/// The parts of the name of a complete file.
///
/// A name has the form `{prefix}{time}-{instance}-{pid}-w{worker}-{sequence}.{extension}`. Under
/// one prefix, the names of one worker sort by their bytes in the order in which the files became
/// visible. The exception is a clock that goes back by more than 1,000 s.
/// [`sequence`](Self::sequence) ascends in any case. Across workers, two names may be out of order
/// by as long as one rename takes.
///
/// ```
/// use bufferedwriter::FileName;
///
/// let name = "access_20261122T194030.123456789Z-00000000deadbeef-4711-w3-12.log";
/// let parsed = FileName::parse(name).expect("a name of ours");
/// assert_eq!((parsed.prefix.to_str(), parsed.extension.to_str()), (Some("access_"), Some("log")));
/// assert_eq!((parsed.instance, parsed.pid, parsed.worker, parsed.sequence), (0xdeadbeef, 4711, 3, 12));
/// assert_eq!(FileName::parse("access.log"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileName {
    /// [`Config::prefix`](crate::Config::prefix).
    pub prefix: OsString,
    /// The wall-clock time just before the file became visible. It increases with each file of a
    /// process, even if the clock is set back by up to 1,000 s. The time is then ahead of the clock
    /// by that much. A clock that goes back further was wrong before, and the time follows it.
    pub time: SystemTime,
    /// The writer's random number.
    pub instance: u64,
    /// The id of the writer's process.
    pub pid: u32,
    /// The worker's number, counted from 0. A file that a recovery made from crash-proof memory has
    /// the number after the last worker's.
    pub worker: usize,
    /// A number that increases by one with each file that the worker begins, whatever the clock
    /// does. Instance, worker and sequence are together unique.
    pub sequence: u64,
    /// [`Config::extension`](crate::Config::extension), without the dot.
    pub extension: OsString,
    /// What the name says, of which `time` may have less: the clock of Windows counts in steps of 100 ns.
    stamp: Stamp,
}

impl FileName {
    /// Parses the name of a complete file, without its directory. `None` for all other names, temp
    /// names included.
    ///
    /// The prefix ends before the first time that makes a valid name. The extension follows the
    /// first dot after that time.
    #[must_use]
    pub fn parse(name: impl AsRef<OsStr>) -> Option<Self> {
        let name = name.as_ref();
        let bytes = sys::bytes(name);
        if bytes.starts_with(b".") && bytes.ends_with(TEMP_END.as_bytes()) {
            return None;
        }
        let last = bytes.len().checked_sub(Stamp::BYTES)?;
        (0..=last).filter(|&at| bytes[at + Stamp::BYTES - 1] == b'Z').find_map(|at| {
            let (prefix, rest) = bytes.split_at(at);
            // The stamp itself contains a dot.
            let dot = rest[Stamp::BYTES..].iter().position(|&byte| byte == b'.');
            let extension = dot.map_or(&[][..], |dot| &rest[Stamp::BYTES + dot + 1..]);
            let (prefix, extension) = (sys::name(prefix)?, sys::name(extension)?);
            let parsed = parse(name, prefix, extension).filter(|parsed| !parsed.temp)?;
            Some(FileName {
                prefix: prefix.to_owned(),
                time: parsed.stamp.time(),
                instance: parsed.instance,
                pid: parsed.pid,
                worker: parsed.worker,
                sequence: parsed.seq,
                extension: extension.to_owned(),
                stamp: parsed.stamp,
            })
        })
    }

    /// Makes the name from its parts.
    #[must_use]
    pub fn to_os_string(&self) -> OsString {
        let FileName { prefix, extension, instance, pid, stamp, .. } = self.clone();
        let is_as_parsed = stamp.time() == self.time;
        let stamp = if is_as_parsed { stamp } else { Stamp::of(self.time) };
        Names { prefix, extension, instance, pid }.visible(stamp, self.worker, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter_testkit::os::OsStrExt;

    fn name(prefix: &[u8], extension: &[u8]) -> (Names, OsString) {
        let [prefix, extension] =
            [prefix, extension].map(|affix| OsStr::from_bytes(affix).to_owned());
        let names = Names { prefix, extension, instance: 0xfeed, pid: 7 };
        let name = names.visible(Stamp(1_795_376_430_123_456_789), 255, u64::MAX);
        (names, name)
    }

    #[test]
    fn parse_undoes_what_a_writer_makes() {
        for prefix in [
            &b""[..],
            b"access_",
            b"2026",
            b"20261122T194030.123456789Z-",
            b"Z",
            b"\xff.",
            b"-w1-2.",
        ] {
            for extension in [&b""[..], b"log", b"log.gz", b"x-y", b"\xfe"] {
                let (names, made) = name(prefix, extension);
                let parsed = FileName::parse(&made).unwrap_or_else(|| panic!("{made:?}"));
                assert_eq!((&parsed.prefix, &parsed.extension), (&names.prefix, &names.extension));
                assert_eq!((parsed.instance, parsed.pid, parsed.worker), (0xfeed, 7, 255));
                assert_eq!((parsed.sequence, parsed.to_os_string()), (u64::MAX, made));
            }
        }
    }

    #[test]
    fn other_names_are_none() {
        let (names, made) = name(b"p", b"log");
        let made = made.to_str().unwrap();
        let temp = names.temp(Stamp(1), 0, 1);
        for other in [
            "",
            "p",
            &made.replace("-w", "-"),
            &made.replace("-7-", "-07-"),
            &made[1..40],
            "Z".repeat(99).as_str(),
        ] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
        assert_eq!(FileName::parse(temp), None);
        assert_eq!(FileName::parse(made.replace("T19", "T25")), None);
    }
}
