//! File names: the one place where they are made and taken apart.
//!
//! ```text
//! visible  {prefix}{20261122T194030.123456789Z}-{instance}-{pid}-w{worker}-{seq}.{extension}
//! temp     .{the same, with the stamp of its creation}.tmp
//! state    .{prefix}{instance}-{pid}.state
//! memory   .{prefix}{instance}-{pid}.memory
//! probe    .{a visible name of the greatest length}.pb1, .pb2
//! aside    .{a visible name}.aside, or the name of a state file and .aside: what a recovery does not trust
//! ```
//!
//! Guarantees: no two stamps of a process are equal, and each is later than all before, even when
//! the wall clock is set back; under one prefix, names sort by their bytes as their stamps do.
//! Affixes are bytes and need not be UTF-8. Only the name that would be made of the parts is taken apart
//! as one: no leading zeros, signs or impossible dates. Refuses: nothing; affixes are checked by `Config`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::base::sync::{AtomicU64, Relaxed};
use crate::config::AFFIX_BYTES_MAX;
use crate::report::error::Error;

/// Always 26 bytes: a u64 of nanoseconds ends in the year 2554.
const STAMP_FORMAT: &str = "%Y%m%dT%H%M%S.%9fZ";

/// A moment of the wall clock, in nanoseconds since the epoch, that no other file of this process
/// has. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// Now, or just after the last stamp that was given, whichever is later.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // A clock before the epoch counts as the epoch: the stamps are then mere numbers.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::after(&LAST, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Relaxed: only the order of changes to this one word matters.
    fn after(last: &AtomicU64, now: u64) -> Self {
        let later = |last: u64| now.max(last.saturating_add(1));
        let mut seen = last.load(Relaxed);
        loop {
            let next = later(seen);
            match last.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return Stamp(next),
                Err(current) => seen = current,
            }
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff reaches to the year 9999, so the default is never taken.
        let at = Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(Timestamp::MAX);
        write!(f, "{}", at.strftime(STAMP_FORMAT))
    }
}

/// What distinguishes one temp file from the others of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TempId {
    /// When it was created.
    pub(crate) stamp: Stamp,
    /// Ascends per worker.
    pub(crate) seq: u64,
}

/// The parts of a name that all files of one writer share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) prefix: OsString,
    pub(crate) extension: OsString,
    /// Random: containers all have process 1, and a process may have several writers.
    pub(crate) instance: u64,
    pub(crate) pid: u32,
}

impl Names {
    /// Names of a new instance in this process.
    pub(crate) fn new(prefix: &OsStr, extension: &OsStr) -> Result<Self, Error> {
        let mut random = [0; 8];
        // Up to 256 bytes come whole or not at all (getrandom(2)).
        retry_on_intr(|| getrandom(&mut random, GetRandomFlags::empty()))
            .map_err(|e| Error::io("read random bytes", Path::new("/dev/urandom"), e.into()))?;
        Ok(Names {
            prefix: prefix.to_owned(),
            extension: extension.to_owned(),
            instance: u64::from_ne_bytes(random),
            pid: std::process::id(),
        })
    }

    /// Name of a complete file.
    pub(crate) fn visible(&self, stamp: Stamp, worker: usize, seq: u64) -> OsString {
        let Names { prefix, extension, instance, pid } = self;
        let mut name = prefix.clone();
        name.push(format!("{stamp}-{instance:016x}-{pid}-w{worker}-{seq}"));
        if !extension.is_empty() {
            name.push(".");
            name.push(extension);
        }
        name
    }

    /// Name of a file that is being written.
    pub(crate) fn temp(&self, stamp: Stamp, worker: usize, seq: u64) -> OsString {
        hidden(&self.visible(stamp, worker, seq), ".tmp")
    }

    /// Name of the instance's state file.
    pub(crate) fn state(&self) -> OsString {
        self.of_instance(".state")
    }

    /// Name of the instance's memory, if that outlives the process.
    pub(crate) fn memory(&self) -> OsString {
        self.of_instance(".memory")
    }

    fn of_instance(&self, end: &str) -> OsString {
        let mut name = self.prefix.clone();
        name.push(format!("{:016x}-{}", self.instance, self.pid));
        hidden(&name, end)
    }

    /// Names between which a rename is tried at the start. As long as the longest temp name that
    /// this instance can come to, so that a file system with shorter names is noticed there too.
    pub(crate) fn probes(&self) -> [OsString; 2] {
        let longest = self.visible(Stamp(u64::MAX), 255, u64::MAX);
        [hidden(&longest, ".pb1"), hidden(&longest, ".pb2")]
    }
}

/// Whether it is the name of a probe of this instance, whatever its extension.
pub(crate) fn is_probe(name: &OsStr, of: &Names) -> bool {
    let inner = |end: &[u8]| name.as_bytes().strip_prefix(b".")?.strip_suffix(end);
    // Directories are large, and hardly any name comes so far.
    let Some(inner) = inner(b".pb1").or_else(|| inner(b".pb2")) else { return false };
    let bare = Names { extension: OsString::new(), ..of.clone() };
    let longest = bare.visible(Stamp(u64::MAX), 255, u64::MAX);
    let rest = inner.strip_prefix(longest.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

fn hidden(name: &OsStr, end: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(end);
    hidden
}

/// Bytes of a stamp in a name.
const STAMP_BYTES: usize = 26;
const TEMP_END: &[u8] = b".tmp";
const STATE_END: &[u8] = b".state";
const ASIDE_END: &str = ".aside";

/// A visible or a temp name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) stamp: Stamp,
    pub(crate) instance: u64,
    pub(crate) pid: u32,
    pub(crate) worker: usize,
    pub(crate) seq: u64,
    /// Whether it is the name of a file that is being written.
    pub(crate) temp: bool,
}

/// Takes apart a visible or a temp name with these affixes; none for any other name.
pub(crate) fn parse(name: &OsStr, prefix: &OsStr, extension: &OsStr) -> Option<Parsed> {
    let bytes = name.as_bytes();
    let inner = bytes.strip_prefix(b".").and_then(|bytes| bytes.strip_suffix(TEMP_END));
    let fields = |bytes, temp| parse_fields(bytes, prefix, extension, temp);
    let parsed = inner.and_then(|bytes| fields(bytes, true)).or_else(|| fields(bytes, false))?;
    let Parsed { stamp, instance, pid, worker, seq, temp } = parsed;
    let names = Names { prefix: prefix.to_owned(), extension: extension.to_owned(), instance, pid };
    let made = if temp { Names::temp } else { Names::visible };
    (made(&names, stamp, worker, seq) == name).then_some(parsed)
}

/// As [`parse`], of temp names only: at hardly any cost for others, of which a directory may be full.
pub(crate) fn parse_temp(name: &OsStr, prefix: &OsStr, extension: &OsStr) -> Option<Parsed> {
    let bytes = name.as_bytes();
    let is_temp = bytes.starts_with(b".") && bytes.ends_with(TEMP_END);
    if is_temp { parse(name, prefix, extension).filter(|parsed| parsed.temp) } else { None }
}

/// May take more than names: whoever calls makes the name again and compares.
fn parse_fields(name: &[u8], prefix: &OsStr, extension: &OsStr, temp: bool) -> Option<Parsed> {
    let mut bytes = name.strip_prefix(prefix.as_bytes())?;
    if !extension.is_empty() {
        bytes = bytes.strip_suffix(extension.as_bytes())?.strip_suffix(b".")?;
    }
    let mut parts = std::str::from_utf8(bytes).ok()?.split('-');
    let date = jiff::civil::DateTime::strptime(STAMP_FORMAT, parts.next()?).ok()?;
    let nanos = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_nanosecond();
    Some(Parsed {
        stamp: Stamp(u64::try_from(nanos).ok()?),
        instance: u64::from_str_radix(parts.next()?, 16).ok()?,
        pid: parts.next()?.parse().ok()?,
        worker: parts.next()?.strip_prefix('w')?.parse().ok()?,
        seq: parts.next()?.parse().ok()?,
        temp,
    })
}

/// The extension of a temp name with this prefix: all between the first dot after the stamp and the end.
/// Empty for other names; whether it is a name at all, [`parse`] tells.
pub(crate) fn temp_extension<'a>(name: &'a OsStr, prefix: &OsStr) -> &'a OsStr {
    let bytes = name.as_bytes().strip_prefix(b".");
    let bytes = bytes.and_then(|bytes| bytes.strip_prefix(prefix.as_bytes()));
    let bytes = bytes.and_then(|bytes| bytes.strip_suffix(TEMP_END));
    let after = bytes.and_then(|bytes| bytes.get(STAMP_BYTES..)).unwrap_or_default();
    let dot = after.iter().position(|&byte| byte == b'.');
    OsStr::from_bytes(dot.map_or(&[], |at| &after[at + 1..]))
}

/// Takes apart the name of a state file; with a prefix, only if it has that. The extension, which is not
/// in it, is left empty.
pub(crate) fn parse_state(name: &OsStr, prefix: Option<&OsStr>) -> Option<Names> {
    let bytes = name.as_bytes().strip_prefix(b".")?.strip_suffix(STATE_END)?;
    let dash = bytes.iter().rposition(|&byte| byte == b'-')?;
    let (found, instance) = bytes.split_at_checked(dash.checked_sub(16)?)?;
    let (instance, pid) = instance.split_at_checked(16)?;
    let number = |bytes| std::str::from_utf8(bytes).ok();
    let names = Names {
        prefix: OsStr::from_bytes(found).to_owned(),
        extension: OsString::new(),
        instance: u64::from_str_radix(number(instance)?, 16).ok()?,
        pid: number(&pid[1..])?.parse().ok()?,
    };
    let fits = prefix.is_none_or(|prefix| prefix == names.prefix) && found.len() <= AFFIX_BYTES_MAX;
    (fits && names.state() == name).then_some(names)
}

/// The name under which a recovery sets aside a temp file or a state file: hidden, and none that a
/// recovery looks for.
pub(crate) fn aside(name: &OsStr) -> OsString {
    let mut aside =
        OsStr::from_bytes(name.as_bytes().strip_suffix(TEMP_END).unwrap_or(name.as_bytes()))
            .to_owned();
    aside.push(ASIDE_END);
    aside
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    const STAMP: Stamp = Stamp(1_795_376_430_123_456_789);

    fn names(prefix: &[u8], extension: &[u8]) -> Names {
        let os = |bytes| OsStr::from_bytes(bytes).to_owned();
        Names { prefix: os(prefix), extension: os(extension), instance: 0xfeed, pid: 1 }
    }

    #[test]
    fn names_are_these() {
        let names = names(b"access_", b"log");
        let visible = "access_20261122T194030.123456789Z-000000000000feed-1-w3-42.log";
        assert_eq!(names.visible(STAMP, 3, 42), visible);
        assert_eq!(names.temp(STAMP, 3, 42), format!(".{visible}.tmp").as_str());
        assert_eq!(names.state(), ".access_000000000000feed-1.state");
        let bare = Names { extension: OsString::new(), ..names };
        assert_eq!(bare.visible(STAMP, 3, 42), visible.strip_suffix(".log").unwrap());
    }

    #[test]
    fn two_writers_of_a_process_are_two_instances() {
        let [one, two] = [(); 2].map(|()| Names::new("p".as_ref(), "log".as_ref()).unwrap());
        assert_ne!(one.instance, two.instance);
        assert_eq!((one.pid, two.pid), (std::process::id(), std::process::id()));
    }

    #[test]
    fn a_clock_set_back_or_standing_still_gives_later_stamps() {
        let last = AtomicU64::new(0);
        let given = [100, 50, 100, 101, 200, 0].map(|now| Stamp::after(&last, now).0);
        assert_eq!(given, [100, 101, 102, 103, 200, 201]);
        assert_ne!(Stamp::after(&AtomicU64::new(0), 0).0, 0);
        assert!(Stamp::next() < Stamp::next());
    }

    #[test]
    fn stamps_of_many_threads_are_distinct() {
        let take = || (0..500).map(|_| Stamp::next().0).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(take));
        let mut all = threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
    }

    #[test]
    fn names_sort_as_their_stamps() {
        let names = names(b"p", b"log");
        let stamps = [0, 1, 999_999_999, 1_000_000_000, STAMP.0, STAMP.0 + 1, u64::MAX];
        let made = stamps.map(|nanos| names.visible(Stamp(nanos), 0, 0));
        assert!(made.is_sorted());
        assert!(stamps.iter().all(|&nanos| Stamp(nanos).to_string().len() == 26));
    }

    #[test]
    fn parse_undoes_format() {
        let affixes: [&[u8]; 8] = [b"", b"a", b"-", b".", b"tmp", b".tmp", b"20261122T", b"\xff-"];
        for (prefix, extension) in affixes.iter().flat_map(|p| affixes.map(|e| (*p, e))) {
            let names = names(prefix, extension);
            for (nanos, worker, seq) in [(0, 0, 0), (STAMP.0, 7, 10), (u64::MAX, 255, u64::MAX)] {
                let stamp = Stamp(nanos);
                for temp in [false, true] {
                    let made = if temp { Names::temp } else { Names::visible };
                    let name = made(&names, stamp, worker, seq);
                    let expected = Parsed { stamp, instance: 0xfeed, pid: 1, worker, seq, temp };
                    assert_eq!(parse(&name, &names.prefix, &names.extension), Some(expected));
                    let as_temp = parse_temp(&name, &names.prefix, &names.extension);
                    assert_eq!(as_temp, Some(expected).filter(|_| temp), "{name:?}");
                }
            }
            let others = [names.state(), names.probes()[0].clone(), names.probes()[1].clone()];
            assert!(others.iter().all(|n| parse(n, &names.prefix, &names.extension).is_none()));
        }
    }

    #[test]
    fn names_of_state_files_are_taken_apart_and_others_are_not() {
        let affixes: [&[u8]; 6] = [b"", b"a", b"-", b".", b"\xff-", b"000000000000feed-1"];
        for prefix in affixes {
            let names = names(prefix, b"");
            let state = names.state();
            assert_eq!(parse_state(&state, Some(&names.prefix)), Some(names.clone()));
            assert_eq!(parse_state(&state, None), Some(names));
            assert_eq!(parse_state(&state, Some("other".as_ref())), None);
        }
        for name in [
            "",
            ".state",
            ".-1.state",
            ".feed-1.state",
            ".000000000000FEED-1.state",
            ".000000000000feed-01.state",
            ".000000000000feed-+1.state",
            ".000000000000feed-4294967296.state",
            ".000000000000feed-.state",
            "000000000000feed-1.state",
            ".000000000000feed-1.state.aside",
            ".+00000000000feed-1.state",
        ] {
            assert_eq!(parse_state(name.as_ref(), None), None, "{name}");
        }
    }

    #[test]
    fn the_extension_of_a_temp_name_is_found() {
        let affixes: [&[u8]; 6] = [b"", b"log", b".", b"a.b", b"tmp", b"\xff"];
        for (prefix, extension) in affixes.iter().flat_map(|p| affixes.map(|e| (*p, e))) {
            let names = names(prefix, extension);
            let temp = names.temp(STAMP, 3, 42);
            assert_eq!(temp_extension(&temp, &names.prefix), names.extension);
            let aside = aside(&temp);
            assert!(parse(&aside, &names.prefix, &names.extension).is_none_or(|p| !p.temp));
            assert!(parse_state(&super::aside(&names.state()), None).is_none());
        }
        for name in ["", ".", ".tmp", "..tmp", ".short.tmp"] {
            assert_eq!(temp_extension(name.as_ref(), "".as_ref()), "");
        }
    }

    #[test]
    fn probes_are_known_without_their_extension() {
        for (prefix, extension) in [(&b"p"[..], &b"log"[..]), (b"", b""), (b"a.b-", b"tar.gz")] {
            let names = names(prefix, extension);
            let unknown = Names { extension: OsString::new(), ..names.clone() };
            assert!(names.probes().iter().all(|name| is_probe(name, &unknown)));
            let other = Names { instance: 1, ..names.clone() };
            assert!(!other.probes().iter().any(|name| is_probe(name, &unknown)));
            assert!(!is_probe(&names.temp(STAMP, 3, 42), &unknown));
        }
    }

    #[test]
    fn parse_refuses_all_but_the_made_name() {
        let good = "20261122T194030.123456789Z-000000000000feed-1-w3-42.log";
        let parsed = |name: &[u8]| parse(OsStr::from_bytes(name), OsStr::new(""), "log".as_ref());
        assert!(parsed(good.as_bytes()).is_some());
        for (from, to) in [
            ("-1-", "-01-"),
            ("-1-", "-+1-"),
            ("-1-", "--"),
            ("-1-", "-4294967296-"),
            ("-42", "-18446744073709551616"),
            ("-42", "-042"),
            ("w3", "W3"),
            ("w3", "w"),
            ("feed", "FEED"),
            ("-000", "-00"),
            (".123456789", ".12345678"),
            (".123456789", ".1234567890"),
            ("20261122", "20260229"),
            ("20261122", "20261322"),
            ("20261122", "19691122"),
            ("20261122", "99991122"),
            ("T194030", "T194060"),
            ("T194030", "T244030"),
            ("T194030", "T 94030"),
            (".log", ".log.tmp"),
            (".log", ""),
        ] {
            let name = good.replacen(from, to, 1);
            assert_ne!(name, good);
            assert_eq!(parsed(name.as_bytes()), None, "{name}");
        }
        // Every cut, every single byte changed: never a panic, never another name's parts.
        for at in 0..good.len() {
            assert_eq!(parsed(&good.as_bytes()[..at]), None);
            for byte in 0..=255 {
                let mut name = good.as_bytes().to_vec();
                name[at] = byte;
                if let Some(Parsed { stamp, instance, pid, worker, seq, .. }) = parsed(&name) {
                    let names = Names { instance, pid, ..names(b"", b"log") };
                    assert_eq!(names.visible(stamp, worker, seq).into_vec(), name);
                }
            }
        }
    }
}
