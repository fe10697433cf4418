//! Parses file names whose prefix and extension the caller knows.
//!
//! Guarantees: a name parses only if its parts make exactly the same name again: no leading zeros,
//! no signs, no impossible dates.

use std::ffi::{OsStr, OsString};

use crate::base::sys::names as sys;
use crate::config::AFFIX_BYTES_MAX;
use crate::naming::names::{JOURNAL_END, Names, STATE_END, TEMP_END};
use crate::naming::stamp::Stamp;

/// Whether this is the name of a probe of this instance, whatever its extension.
pub(crate) fn is_probe(name: &OsStr, of: &Names) -> bool {
    let inner = |end: &[u8]| sys::bytes(name).strip_prefix(b".")?.strip_suffix(end);
    // Directories may be large, and hardly any name passes this test.
    let Some(inner) = inner(b".pb1").or_else(|| inner(b".pb2")) else { return false };
    let bare = Names { extension: OsString::new(), ..of.clone() };
    let longest = bare.visible(Stamp(u64::MAX), 255, u64::MAX);
    let rest = inner.strip_prefix(sys::bytes(&longest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

/// The parts of a visible or a temp name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) stamp: Stamp,
    pub(crate) instance: u64,
    pub(crate) pid: u32,
    pub(crate) worker: usize,
    pub(crate) seq: u64,
    /// Whether it is a temp name.
    pub(crate) temp: bool,
}

/// Parses a visible or a temp name with these affixes. `None` for any other name.
pub(crate) fn parse(name: &OsStr, prefix: &OsStr, extension: &OsStr) -> Option<Parsed> {
    let bytes = sys::bytes(name);
    let inner = bytes.strip_prefix(b".").and_then(|bytes| bytes.strip_suffix(TEMP_END.as_bytes()));
    let fields = |bytes, temp| parse_fields(bytes, prefix, extension, temp);
    let parsed = inner.and_then(|bytes| fields(bytes, true)).or_else(|| fields(bytes, false))?;
    let Parsed { stamp, instance, pid, worker, seq, temp } = parsed;
    let names = Names { prefix: prefix.to_owned(), extension: extension.to_owned(), instance, pid };
    let made = if temp { Names::temp } else { Names::visible };
    (made(&names, stamp, worker, seq) == name).then_some(parsed)
}

/// Like [`parse`], for temp names only. Other names, of which a directory may be full, cost little.
pub(crate) fn parse_temp(name: &OsStr, prefix: &OsStr, extension: &OsStr) -> Option<Parsed> {
    let bytes = sys::bytes(name);
    let is_temp = bytes.starts_with(b".") && bytes.ends_with(TEMP_END.as_bytes());
    if is_temp { parse(name, prefix, extension).filter(|parsed| parsed.temp) } else { None }
}

/// Accepts more than valid names, so the caller makes the name again and compares.
fn parse_fields(name: &[u8], prefix: &OsStr, extension: &OsStr, temp: bool) -> Option<Parsed> {
    let mut bytes = name.strip_prefix(sys::bytes(prefix))?;
    if !extension.is_empty() {
        bytes = bytes.strip_suffix(sys::bytes(extension))?.strip_suffix(b".")?;
    }
    let mut parts = std::str::from_utf8(bytes).ok()?.split('-');
    Some(Parsed {
        stamp: Stamp::parse(parts.next()?)?,
        instance: u64::from_str_radix(parts.next()?, 16).ok()?,
        pid: parts.next()?.parse().ok()?,
        worker: parts.next()?.strip_prefix('w')?.parse().ok()?,
        seq: parts.next()?.parse().ok()?,
        temp,
    })
}

/// The extension of a temp name with this prefix: the text between the first dot after the stamp
/// and the end. Empty for other names. Whether it is a temp name at all is for [`parse`] to say.
pub(crate) fn temp_extension<'a>(name: &'a OsStr, prefix: &OsStr) -> &'a OsStr {
    let bytes = sys::bytes(name).strip_prefix(b".");
    let bytes = bytes.and_then(|bytes| bytes.strip_prefix(sys::bytes(prefix)));
    let bytes = bytes.and_then(|bytes| bytes.strip_suffix(TEMP_END.as_bytes()));
    let after = bytes.and_then(|bytes| bytes.get(Stamp::BYTES..)).unwrap_or_default();
    let dot = after.iter().position(|&byte| byte == b'.');
    sys::name(dot.map_or(&[], |at| &after[at + 1..])).unwrap_or_default()
}

/// Parses the name of a state file. If a prefix is given, the name must have it. The extension,
/// which is not in the name, stays empty.
pub(crate) fn parse_state(name: &OsStr, prefix: Option<&OsStr>) -> Option<Names> {
    parse_of_instance(name, prefix, STATE_END).filter(|names| names.state() == name)
}

/// Parses the name of a journal, like [`parse_state`].
pub(crate) fn parse_journal(name: &OsStr, prefix: Option<&OsStr>) -> Option<Names> {
    parse_of_instance(name, prefix, JOURNAL_END).filter(|names| names.journal() == name)
}

/// Accepts more than valid names, so the caller makes the name again and compares.
fn parse_of_instance(name: &OsStr, prefix: Option<&OsStr>, end: &str) -> Option<Names> {
    let bytes = sys::bytes(name).strip_prefix(b".")?.strip_suffix(end.as_bytes())?;
    let dash = bytes.iter().rposition(|&byte| byte == b'-')?;
    let (found, instance) = bytes.split_at_checked(dash.checked_sub(16)?)?;
    let (instance, pid) = instance.split_at_checked(16)?;
    let number = |bytes| std::str::from_utf8(bytes).ok();
    let names = Names {
        prefix: sys::name(found)?.to_owned(),
        extension: OsString::new(),
        instance: u64::from_str_radix(number(instance)?, 16).ok()?,
        pid: number(&pid[1..])?.parse().ok()?,
    };
    let fits = prefix.is_none_or(|prefix| prefix == names.prefix) && found.len() <= AFFIX_BYTES_MAX;
    fits.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naming::names::aside as set_aside;
    use bufferedwriter_testkit::os::{OsStrExt, OsStringExt};

    const STAMP: Stamp = Stamp(1_795_376_430_123_456_789);

    fn names(prefix: &[u8], extension: &[u8]) -> Names {
        let os = |bytes| OsStr::from_bytes(bytes).to_owned();
        Names { prefix: os(prefix), extension: os(extension), instance: 0xfeed, pid: 1 }
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
            assert_eq!(parse_state(&state, None), Some(names.clone()));
            assert_eq!(parse_state(&state, Some("other".as_ref())), None);
            let journal = names.journal();
            assert_eq!(parse_journal(&journal, Some(&names.prefix)), Some(names.clone()));
            assert!(parse_state(&journal, None).is_none() && parse_journal(&state, None).is_none());
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
            let aside = set_aside(&temp);
            assert!(parse(&aside, &names.prefix, &names.extension).is_none_or(|p| !p.temp));
            assert!(parse_state(&set_aside(&names.state()), None).is_none());
        }
        for name in ["", ".", ".tmp", "..tmp", ".short.tmp"] {
            assert_eq!(temp_extension(name.as_ref(), "".as_ref()), "");
        }
    }

    #[test]
    fn probes_are_known_without_their_extension() {
        for (prefix, extension) in [(&b"p"[..], &b"log"[..]), (b"", b""), (b"a.b-", b"tar.gz")] {
            let names = names(prefix, extension);
            let unknown = Names { extension: OsString::from("txt"), ..names.clone() };
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
        // Every prefix and every change of one byte: never a panic, never the parts of another
        // name.
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
