//! Random files, in memory and with descriptors that are far too few, against a plain stable sort.

use std::io::{self, Write};
use std::path::PathBuf;

use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::random::Random;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::tz::TimeZone;

use super::*;
use crate::commands::merge::outcome::Outcome;
use crate::contents::WINDOW_LOG;

struct Collected(Vec<u8>);

impl<K> Sink<K> for Collected {
    fn put(&mut self, _: K, _: u64, piece: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(piece);
        Ok(())
    }
}

fn plan(format: &str, window: Option<i64>, memory: usize, fan_in: usize) -> Plan {
    Plan {
        format: format.parse().unwrap(),
        zone: TimeZone::UTC,
        window,
        window_log: WINDOW_LOG,
        threads: 2,
        memory,
        fan_in,
        outcome: Outcome::default(),
    }
}

fn merged<K: Key>(plan: &Plan, dir: &TestDir, paths: &[PathBuf]) -> Vec<u8> {
    let mut sink = Collected(Vec::new());
    merge_into::<K>(dir.path(), plan, paths, &mut sink).unwrap();
    sink.0
}

/// A file's content as one frame, as two, or as it is.
fn write(dir: &TestDir, number: usize, random: &mut Random, content: &[u8]) -> PathBuf {
    let gzip = |part: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |part: &[u8]| {
        let mut out = Vec::with_capacity(zstd_safe::compress_bound(part.len()));
        zstd_safe::compress(&mut out, part, 1).unwrap();
        out
    };
    let (one, other) = content.split_at(random.below(content.len() + 1));
    let (end, bytes) = match random.below(5) {
        0 => ("log.gz", gzip(content)),
        1 => ("log.gz", [gzip(one), gzip(other)].concat()),
        2 => ("log.zst", [zstd(one), zstd(other)].concat()),
        3 => ("renamed", zstd(content)),
        _ => ("log", content.to_vec()),
    };
    let path = dir.join(format!("{number:03}.{end}"));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The time of a line as the tests write it.
fn time(line: &[u8]) -> Option<i64> {
    let digits: Vec<_> = line.iter().take_while(|byte| byte.is_ascii_digit()).collect();
    let text: String = digits.iter().map(|&&byte| byte as char).collect();
    text.parse().ok()
}

/// The lines of all files, by time and place.
fn sorted(contents: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for content in contents {
        let lines: Vec<_> = content.split_inclusive(|&byte| byte == b'\n').collect();
        let mut last = lines.iter().find_map(|line| time(line)).unwrap_or(i64::MIN);
        for line in lines {
            last = time(line).unwrap_or(last);
            let end = if line.ends_with(b"\n") { &b""[..] } else { b"\n" };
            all.push((last, [line, end].concat()));
        }
    }
    all.sort_by_key(|(time, _)| *time);
    all.into_iter().flat_map(|(_, line)| line).collect()
}

/// Lines with times that are often the same, lines without, empty and long ones.
fn content(random: &mut Random, is_sorted: bool, name: usize) -> Vec<u8> {
    let (mut bytes, mut now) = (Vec::new(), 1000 + random.below(50_u64));
    let lines = random.below(3000_usize) / (1 + random.below(30_usize));
    for number in 0..lines {
        now = if is_sorted {
            now + u64::from(random.one_in(3))
        } else {
            1000 + random.below(400_u64)
        };
        let text = match random.below(12) {
            0 => format!("  at file {name}, line {number}"),
            1 if random.one_in(9) => String::new(),
            2 if random.one_in(200) => format!("{now} {}", "x".repeat(random.below(700_000_usize))),
            3 => {
                format!("{now} file {name} line {number} {}\r", "y".repeat(random.below(900_usize)))
            }
            _ => format!("{now} file {name} line {number}"),
        };
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
    }
    if random.one_in(4) {
        bytes.pop();
    }
    bytes
}

#[test]
fn as_a_stable_sort() {
    let (mut runs, mut untimed) = (0, 0);
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let dir = TestDir::new();
        let is_sorted = random.one_in(2);
        let most = if random.one_in(5) { 40_usize } else { 9 };
        let count = 1 + random.below(most);
        let contents: Vec<_> = (0..count)
            .map(|name| {
                let is_sorted = is_sorted || random.one_in(2);
                content(&mut random, is_sorted, name)
            })
            .collect();
        let paths: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(number, content)| write(&dir, number, &mut random, content))
            .collect();
        let plan = plan("epoch:s", None, 1 << 20, 4);
        let merged = merged::<i64>(&plan, &dir, &paths);
        assert!(merged == sorted(&contents), "seed {seed}");
        let outcome = &plan.outcome;
        let lines = merged.iter().filter(|&&byte| byte == b'\n').count() as u64;
        assert_eq!(outcome.lines.load(Relaxed), lines, "seed {seed}");
        assert_eq!(outcome.bytes.load(Relaxed), merged.len() as u64, "seed {seed}");
        assert_eq!(outcome.faults.load(Relaxed) + outcome.late.load(Relaxed), 0, "seed {seed}");
        untimed += outcome.untimed.load(Relaxed);
        runs += u64::from(count > 4);
    }
    assert!(runs > 20 && untimed > 1000, "{runs} {untimed}");
}

#[test]
fn disorder_within_the_window_is_mended_and_more_is_told() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let dir = TestDir::new();
        let contents: Vec<Vec<u8>> = (0..6)
            .map(|name| {
                let lines = (0..400).map(|number| {
                    let time = 1000 + number - random.below(6_u64);
                    format!("{time} file {name} line {number}\n").into_bytes()
                });
                lines.collect::<Vec<_>>().concat()
            })
            .collect();
        let paths: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(number, content)| write(&dir, number, &mut random, content))
            .collect();
        let wide = plan("epoch:s", Some(5_000_000_000), 2 << 20, 4);
        assert!(merged::<i64>(&wide, &dir, &paths) == sorted(&contents), "seed {seed}");
        assert_eq!(wide.outcome.late.load(Relaxed), 0, "seed {seed}");
        let narrow = plan("epoch:s", Some(1_000_000_000), 2 << 20, 4);
        let merged = merged::<i64>(&narrow, &dir, &paths);
        let mut lines: Vec<_> = merged.split(|&byte| byte == b'\n').collect();
        assert!(narrow.outcome.late.load(Relaxed) > 0 && !narrow.outcome.is_well());
        let all = sorted(&contents);
        let mut expected: Vec<_> = all.split(|&byte| byte == b'\n').collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert!(lines == expected, "seed {seed}: none is lost");
    }
}

#[test]
fn prefixes_are_compared_as_bytes() {
    let dir = TestDir::new();
    let long = "0123456789abcdefghijklmnopqrstu";
    let one = format!("{long}B 1\n {long}\n\n{long}D 2\n");
    let other = format!("{long}A 3\r\n{long}C 4\nab\n");
    let paths = [("one", &one), ("other", &other)].map(|(name, content)| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path
    });
    let plan = plan("prefix:32", None, 1 << 20, 4);
    let merged = merged::<Prefix>(&plan, &dir, &paths);
    let expected = format!("{long}A 3\r\n{long}B 1\n {long}\n\n{long}C 4\n{long}D 2\nab\n");
    assert_eq!(String::from_utf8(merged).unwrap(), expected);
}

#[test]
fn keys_come_back_from_a_run() {
    for key in [i64::MIN, -1, 0, i64::MAX] {
        let mut bytes = [0; 8];
        key.put(&mut bytes);
        assert_eq!(<i64 as Key>::get(&bytes), key);
    }
    let key: Prefix = [1, u64::MAX, 0, 7 << 40];
    let mut bytes = [0; 32];
    key.put(&mut bytes);
    assert_eq!(Prefix::get(&bytes), key);
}

#[test]
fn too_little_memory_is_told_before_anything_is_read() {
    let times = || (Format::Auto, TimeZone::UTC, None);
    let plan = |memory, files| Plan::new(times(), memory, files, (1 << 20, 0));
    assert!(plan(256 << 20, 10_000).is_ok_and(|plan| plan.memory > 128 << 20 && plan.fan_in >= 4));
    for (memory, files) in [(0, 1), (40 << 20, 1), (64 << 20, 1_000_000)] {
        let error = plan(memory, files).err().unwrap();
        assert!(error.contains("--memory must be at least"), "{error}");
    }
}

#[test]
fn a_line_that_other_files_have_overtaken_is_late() {
    let dir = TestDir::new();
    let write = |name: &str, content: &str| {
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let paths = [write("a", "100 a\n50 late\n  trace\n101 a\n"), write("b", "60 b\n61 b\n")];
    let some = plan("epoch:s", Some(10_000_000_000), 1 << 20, 4);
    assert_eq!(merged::<i64>(&some, &dir, &paths), b"60 b\n61 b\n50 late\n  trace\n100 a\n101 a\n");
    assert_eq!(some.outcome.late.load(Relaxed), 1);
    let none = plan("epoch:s", Some(0), 1 << 20, 4);
    assert_eq!(merged::<i64>(&none, &dir, &paths), b"60 b\n61 b\n100 a\n50 late\n  trace\n101 a\n");
    assert_eq!(none.outcome.late.load(Relaxed), 1);
}
