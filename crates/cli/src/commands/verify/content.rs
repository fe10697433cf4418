//! Whether one file is whole: its frames, its first and last bytes, and no block of zeros in it.
//!
//! Guarantees: reads every byte once. Memory is one buffer and one decoder.

use std::path::Path;

use crate::commands::verify::problems::{Kind, Problem};
use crate::contents::{Contents, Step, WINDOW_LOG};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Zeros in a row that no text has. A crash of the system leaves whole blocks of the file system.
const NUL_BLOCK_BYTES: u64 = 512;

/// Damaged places of a file that are told: a hostile file may have millions.
const DAMAGED_MAX: usize = 100;

/// What each file should hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    pub(super) header: Vec<u8>,
    pub(super) footer: Vec<u8>,
    /// Records are lines of text.
    pub(super) is_lines: bool,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Bytes after decompression, without header and footer.
    pub(super) record_bytes: u64,
    /// Lines, without those of header and footer.
    pub(super) lines: u64,
    pub(super) problems: Vec<Problem>,
    /// The file is gone: retention or a shipper took it.
    pub(super) is_gone: bool,
}

/// Reads a file to its end.
pub(super) fn check(path: &Path, expected: &Expected, buffer: &mut [u8]) -> Content {
    let mut contents = match Contents::open(path, WINDOW_LOG) {
        Ok(contents) => contents,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Content { is_gone: true, ..Content::default() };
        }
        Err(error) => {
            let problem = Problem::new(Kind::Unreadable, path, format!("open: {error}"));
            return Content { problems: vec![problem], ..Content::default() };
        }
    };
    let mut scan = Scan::new(expected);
    let mut problems = Vec::new();
    loop {
        match contents.read(buffer) {
            Step::Bytes(bytes) => scan.take(&buffer[..bytes]),
            Step::Fault(fault) => {
                problems.push(Problem::new(Kind::Damaged, path, fault.what).at(fault.offset));
                if problems.len() == DAMAGED_MAX {
                    break;
                }
            }
            Step::End => break,
        }
    }
    let is_damaged = !problems.is_empty();
    let (content, wrong) = scan.finish(is_damaged);
    problems.extend(wrong.into_iter().map(|(kind, offset, what)| {
        let problem = Problem::new(kind, path, what);
        Problem { offset, ..problem }
    }));
    Content { problems, ..content }
}

/// A buffer for [`check`].
pub(super) fn buffer() -> Vec<u8> {
    vec![0; BUFFER_BYTES]
}

type Wrong = (Kind, Option<u64>, String);

/// What was seen of the contents so far.
struct Scan<'a> {
    expected: &'a Expected,
    len: u64,
    newlines: u64,
    begins_well: bool,
    /// The last bytes, as many as the footer has, at least one.
    tail: Vec<u8>,
    /// Zeros at the end of what was seen.
    zeros: u64,
    /// Where the first block of zeros begins, and the bytes of all.
    block: Option<(u64, u64)>,
}

impl<'a> Scan<'a> {
    fn new(expected: &'a Expected) -> Self {
        Scan {
            expected,
            len: 0,
            newlines: 0,
            begins_well: true,
            tail: Vec::new(),
            zeros: 0,
            block: None,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.newlines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let seen = usize::try_from(self.len).unwrap_or(usize::MAX);
        let header = self.expected.header.get(seen..).unwrap_or_default();
        let common = header.len().min(bytes.len());
        self.begins_well &= header[..common] == bytes[..common];
        if self.expected.is_lines {
            self.look_for_zeros(bytes);
        }
        self.len += bytes.len() as u64;
        let keep = self.expected.footer.len().max(1);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(keep)..]);
        self.tail.drain(..self.tail.len().saturating_sub(keep));
    }

    fn look_for_zeros(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != 0 {
                self.end_zeros(self.len + at as u64);
                let Some(skip) = memchr::memchr(0, &bytes[at..]) else { return };
                at += skip;
            }
            let zeros = bytes[at..].iter().take_while(|&&byte| byte == 0).count();
            self.zeros += zeros as u64;
            at += zeros;
        }
    }

    /// Notes the zeros that end here, if they are a block.
    fn end_zeros(&mut self, at: u64) {
        let zeros = std::mem::take(&mut self.zeros);
        if zeros >= NUL_BLOCK_BYTES {
            let (first, bytes) = self.block.unwrap_or((at - zeros, 0));
            self.block = Some((first, bytes + zeros));
        }
    }

    fn finish(mut self, is_damaged: bool) -> (Content, Vec<Wrong>) {
        let mut wrong = Vec::new();
        self.end_zeros(self.len);
        let Expected { header, footer, is_lines } = self.expected;
        let around = (header.len() + footer.len()) as u64;
        if let Some((at, bytes)) = self.block {
            wrong.push((Kind::NulBlock, Some(at), format!("{bytes} NUL bytes, from byte {at} on")));
        }
        if self.len == 0 && !is_damaged {
            wrong.push((Kind::Empty, None, "empty".to_owned()));
        }
        // Of a damaged file the end is missing anyway.
        if self.len > 0 && !is_damaged {
            if !self.begins_well || self.len < around {
                wrong.push((Kind::Envelope, Some(0), "does not begin with the header".to_owned()));
            }
            if !footer.is_empty() && self.tail != *footer {
                wrong.push((
                    Kind::Envelope,
                    Some(self.len),
                    "does not end with the footer".to_owned(),
                ));
            } else if *is_lines && footer.is_empty() && self.tail != b"\n" {
                wrong.push((
                    Kind::NoNewline,
                    Some(self.len),
                    "the last line has no newline".to_owned(),
                ));
            }
        }
        let lines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count() as u64;
        let content = Content {
            record_bytes: self.len.saturating_sub(around),
            lines: self.newlines.saturating_sub(lines(header) + lines(footer)),
            ..Content::default()
        };
        (content, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kinds and offsets, however the bytes come.
    fn scan(expected: &Expected, bytes: &[u8]) -> (Content, Vec<(Kind, Option<u64>)>) {
        let mut results = [1, 2, 7, 600, 1 << 20].map(|step| {
            let mut scan = Scan::new(expected);
            bytes.chunks(step).for_each(|part| scan.take(part));
            let (content, wrong) = scan.finish(false);
            (content, wrong.into_iter().map(|(kind, at, _)| (kind, at)).collect::<Vec<_>>())
        });
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
        std::mem::take(&mut results[0])
    }

    #[test]
    fn zeros_newlines_and_ends() {
        let lines = Expected { is_lines: true, ..Expected::default() };
        let zeros = |count| vec![0; count];
        let all = |parts: &[&[u8]]| parts.concat();
        for (bytes, wrong) in [
            (all(&[b"one\ntwo\n"]), vec![]),
            (all(&[]), vec![(Kind::Empty, None)]),
            (all(&[b"one\ntwo"]), vec![(Kind::NoNewline, Some(7))]),
            (all(&[b"a", &zeros(511), b"b", &zeros(511), b"\n"]), vec![]),
            (all(&[b"a", &zeros(512), b"\n"]), vec![(Kind::NulBlock, Some(1))]),
            (all(&[&zeros(600), b"b", &zeros(700), b"\n"]), vec![(Kind::NulBlock, Some(0))]),
            (
                all(&[b"a\n", &zeros(4096)]),
                vec![(Kind::NulBlock, Some(2)), (Kind::NoNewline, Some(4098))],
            ),
        ] {
            assert_eq!(scan(&lines, &bytes).1, wrong, "{} bytes", bytes.len());
        }
        let any = Expected::default();
        assert_eq!(scan(&any, &all(&[&zeros(5000), b"x"])).1, vec![]);
    }

    #[test]
    fn header_and_footer_are_no_lines() {
        let expected =
            Expected { header: b"a,b\n".into(), footer: b"# end\n".into(), is_lines: true };
        let (content, wrong) = scan(&expected, b"a,b\n1,2\n3,4\n# end\n");
        assert_eq!((content.lines, content.record_bytes, wrong), (2, 8, vec![]));
        for (bytes, kinds) in [
            (&b"a,c\n1,2\n# end\n"[..], &[Kind::Envelope][..]),
            (b"a,b\n1,2\n# enx\n", &[Kind::Envelope]),
            (b"a,b\n", &[Kind::Envelope, Kind::Envelope]),
            (b"a,b\n1,2\n# end", &[Kind::Envelope]),
        ] {
            let found: Vec<_> =
                scan(&expected, bytes).1.into_iter().map(|(kind, _)| kind).collect();
            assert_eq!(found, kinds, "{bytes:?}");
        }
    }
}
