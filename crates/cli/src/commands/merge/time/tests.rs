//! A table of each format, with what is no time of it; zones; the choice of a format.

use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;

use super::*;

/// When the file was changed: 2026-03-01T00:00:00Z.
const CHANGED: u64 = 1_772_323_200;

fn times(format: &str, zone_name: &str) -> Times {
    let changed = UNIX_EPOCH + Duration::from_secs(CHANGED);
    Times::new(format.parse().unwrap(), &zone(zone_name).unwrap(), changed)
}

/// The time of the line, as RFC 3339 has it.
fn time(format: &str, zone: &str, line: &str) -> Option<String> {
    let nanos = times(format, zone).of(line.as_bytes())?;
    Some(Timestamp::from_nanosecond(nanos.into()).unwrap().to_string())
}

#[test]
fn each_format() {
    for (format, line, expected) in [
        ("rfc3339", "2026-11-30T12:34:56Z rest", "2026-11-30T12:34:56Z"),
        ("rfc3339", "2026-11-30T12:34:56.789012345Z", "2026-11-30T12:34:56.789012345Z"),
        ("rfc3339", "2026-11-30T12:34:56.7890123456789Z", "2026-11-30T12:34:56.789012345Z"),
        ("rfc3339", "2026-11-30t12:34:56z", "2026-11-30T12:34:56Z"),
        ("rfc3339", "2026-11-30 12:34:56,789 - INFO", "2026-11-30T12:34:56.789Z"),
        ("rfc3339", "2026-11-30T12:34:56+01:30 x", "2026-11-30T11:04:56Z"),
        ("rfc3339", "2026-11-30T12:34:56-0130", "2026-11-30T14:04:56Z"),
        ("rfc3339", "[2026-11-30 12:34:56] x", "2026-11-30T12:34:56Z"),
        ("rfc3339", "<34>1 2026-11-30T12:34:56Z host", "2026-11-30T12:34:56Z"),
        ("rfc3339", "2016-12-31T23:59:60Z leap", "2017-01-01T00:00:00Z"),
        ("rfc3339", "0001-01-01T00:00:00Z", "1677-09-21T00:12:43.145224192Z"),
        ("rfc3339", "9999-12-31T23:59:59Z", "2262-04-11T23:47:16.854775807Z"),
        ("epoch", "1764506096 x", "2025-11-30T12:34:56Z"),
        ("epoch", "1764506096.5 x", "2025-11-30T12:34:56.5Z"),
        ("epoch", "1764506096789", "2025-11-30T12:34:56.789Z"),
        ("epoch", "1764506096789012 x", "2025-11-30T12:34:56.789012Z"),
        ("epoch", "1764506096789012345,x", "2025-11-30T12:34:56.789012345Z"),
        ("epoch:s", "0", "1970-01-01T00:00:00Z"),
        ("epoch:ms", "1500", "1970-01-01T00:00:01.5Z"),
        ("epoch:us", "1500", "1970-01-01T00:00:00.0015Z"),
        ("epoch:ns", "1500", "1970-01-01T00:00:00.0000015Z"),
        (
            "clf",
            "::1 - a[b [30/Nov/2026:12:34:56 +0100] \"GET / HTTP/1.1\" 200 5",
            "2026-11-30T11:34:56Z",
        ),
        ("clf", "h - - [30/Nov/2026:12:34:56] x", "2026-11-30T12:34:56Z"),
        ("syslog", "Feb 28 12:34:56 host x", "2026-02-28T12:34:56Z"),
        ("syslog", "Feb  8 12:34:56 host x", "2026-02-08T12:34:56Z"),
        ("syslog", "Feb 8 12:34:56.25 host x", "2026-02-08T12:34:56.25Z"),
        ("syslog", "<13>Dec 31 23:59:59 host x", "2025-12-31T23:59:59Z"),
        // Ahead of the file by less than a day, and by more.
        ("syslog", "Mar  1 23:00:00 host x", "2026-03-01T23:00:00Z"),
        ("syslog", "Mar  2 23:00:00 host x", "2025-03-02T23:00:00Z"),
        ("syslog", "Feb 29 12:00:00 leap day", "2024-02-29T12:00:00Z"),
        ("ctime", "[Sun Dec 04 04:47:44 2005] [notice] x", "2005-12-04T04:47:44Z"),
        ("ctime", "[Fri Sep 09 10:42:29.902022 2011] x", "2011-09-09T10:42:29.902022Z"),
        ("ctime", "Sun Dec  4 04:47:44 2005", "2005-12-04T04:47:44Z"),
        ("json:at", r#"{"a":{"at":1},"at":"2026-11-30T12:34:56Z"}"#, "2026-11-30T12:34:56Z"),
        ("json:at", r#"{"a":"\"at\":1","at":1764506096.25, broken"#, "2025-11-30T12:34:56.25Z"),
        ("json:\"", r#"{"\"":1764506096}"#, "2025-11-30T12:34:56Z"),
        ("prefix:3", "abc", ""),
        ("strptime:%y%m%d %H%M%S", "081109 203615 148 INFO", "2008-11-09T20:36:15Z"),
        ("strptime:- %s", "- 1117838570 2005.06.03 R02", "2005-06-03T22:42:50Z"),
        (
            "strptime:%d.%m.%Y %H:%M:%S%.f %z",
            "30.11.2026 12:34:56.5 +0100 x",
            "2026-11-30T11:34:56.5Z",
        ),
        ("strptime:%b %d %H:%M:%S", "Dec 31 23:59:59 x", "2025-12-31T23:59:59Z"),
        ("strptime:%Y-%m-%d", "2026-11-30 x", "2026-11-30T00:00:00Z"),
    ] {
        let expected = Some(expected.to_owned()).filter(|text| !text.is_empty());
        assert_eq!(time(format, "UTC", line), expected, "{format}: {line}");
        // Each line but those that only an operator can tell is recognised, with the same result.
        if !format.starts_with("strptime") && !matches!(format, "json:at" | "json:\"" | "prefix:3")
        {
            let is_short = line.len() < 9;
            let found = time("auto", "UTC", line);
            assert_eq!(found, expected.filter(|_| !is_short), "auto: {line}");
        }
    }
}

#[test]
fn what_is_no_time() {
    for (format, line) in [
        ("rfc3339", ""),
        ("rfc3339", "2026-11-30"),
        ("rfc3339", "2026-13-30T12:34:56Z"),
        ("rfc3339", "2026-02-30T12:34:56Z"),
        ("rfc3339", "2026-11-30T24:34:56Z"),
        ("rfc3339", "2026-11-30X12:34:56Z"),
        ("rfc3339", "\tat 2026-11-30T12:34:56Z"),
        ("rfc3339", "2026-11-30T12:34:56+x"),
        ("rfc3339", "20é6-11-30T12:34:56"),
        ("epoch", "1764506096abc"),
        ("epoch", "123 too few digits"),
        ("epoch", "17645060961764506096176450609"),
        ("clf", "h [30/Foo/2026:12:34:56 +0100]"),
        ("syslog", "Foo 30 12:34:56"),
        ("syslog", "Feb 30 12:34:56"),
        ("ctime", "Sun Dec 04 04:47:44"),
        ("json:at", "[1]"),
        ("json:at", "{\"at\":null}"),
        ("json:at", "{\"at\":\"yesterday\"}"),
        ("json:at", "{"),
        ("strptime:%Y", "x"),
        ("auto", "just a line"),
        ("auto", "12 lines"),
    ] {
        assert_eq!(time(format, "UTC", line), None, "{format}: {line}");
    }
}

#[test]
fn zones() {
    for (zone, line, expected) in [
        ("Europe/Berlin", "2026-07-01 12:00:00 x", "2026-07-01T10:00:00Z"),
        ("Europe/Berlin", "2026-12-01 12:00:00 x", "2026-12-01T11:00:00Z"),
        // An offset in the line counts.
        ("Europe/Berlin", "2026-07-01 12:00:00Z", "2026-07-01T12:00:00Z"),
        // It comes twice, and it never comes.
        ("Europe/Berlin", "2026-10-25 02:30:00 x", "2026-10-25T00:30:00Z"),
        ("Europe/Berlin", "2026-03-29 02:30:00 x", "2026-03-29T01:30:00Z"),
        ("Asia/Kathmandu", "2026-07-01 12:00:30.5 x", "2026-07-01T06:15:30.5Z"),
    ] {
        assert_eq!(time("rfc3339", zone, line).as_deref(), Some(expected), "{zone}: {line}");
    }
    assert!(zone("Mars/Base").is_err());
}

#[test]
fn neighbours_do_not_disturb_each_other() {
    let mut berlin = times("rfc3339", "Europe/Berlin");
    for _ in 0..2 {
        for (line, seconds) in [
            ("2026-07-01 12:00:00", 1_782_900_000),
            ("2026-07-01 12:00:59", 1_782_900_059),
            ("2026-12-01 12:00:00", 1_796_122_800),
            ("2026-07-01 12:00:00Z", 1_782_907_200),
        ] {
            assert_eq!(berlin.of(line.as_bytes()), Some(seconds * 1_000_000_000), "{line}");
        }
    }
    // One number is the beginning of the next.
    let mut seconds = times("strptime:%s", "UTC");
    for number in [17, 17, 176, 1764, 17, 1764] {
        let line = format!("{number} x");
        assert_eq!(seconds.of(line.as_bytes()), Some(number * 1_000_000_000), "{line}");
    }
}

#[test]
fn most_of_the_first_lines_decide() {
    let mut found = times("auto", "UTC");
    let lines = b"1764506096 is a number\nFeb 28 12:00:00 a\n  trace\nFeb 28 12:00:01 b\n";
    found.detect(lines);
    assert_eq!(found.format, Format::Syslog);
    // Without any in the sample, the first line that has one decides.
    let mut found = times("auto", "UTC");
    found.detect(b"none\nat all\n");
    assert_eq!(found.format, Format::Auto);
    assert!(found.of(b"[Sun Dec 04 04:47:44 2005] x").is_some());
    assert_eq!(found.format, Format::Ctime);
    // A choice of the operator stands.
    let mut found = times("epoch", "UTC");
    found.detect(lines);
    assert_eq!(found.format, Format::Epoch(Unit::ByLength));
}

#[test]
fn formats_are_read_and_shown() {
    for text in [
        "auto",
        "rfc3339",
        "epoch",
        "epoch:s",
        "epoch:ms",
        "epoch:us",
        "epoch:ns",
        "clf",
        "syslog",
        "ctime",
        "json:a",
        "prefix:32",
        "strptime:%Y:%m",
    ] {
        assert_eq!(text.parse::<Format>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "Auto",
        "epoch:m",
        "json",
        "json:",
        "prefix",
        "prefix:0",
        "prefix:33",
        "prefix:x",
        "strptime",
        "strptime:",
        "strptime:%",
        "strptime:%!",
        "clf:x",
    ] {
        assert!(text.parse::<Format>().is_err(), "{text}");
    }
}
