//! Splits blocks of bytes into lines. Each line has its newline and, if possible, is borrowed from
//! the block.
//!
//! Guarantees: bytes are never changed (CRLF stays). Only a line that spans blocks is copied.
//! Memory is one block and at most one line of the permitted length, whatever the input. Refuses:
//! lines longer than permitted. They are counted and skipped, and never kept in memory.

use std::borrow::Cow;

/// A line that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Line number within its input, from 1.
    pub(crate) number: u64,
    /// Length, newline included.
    pub(crate) bytes: u64,
    /// With its newline. Owned only if it did not fit a block. `None` if it is longer than
    /// permitted.
    pub(crate) text: Option<Cow<'a, [u8]>>,
}

/// Splits one input.
pub(crate) struct Lines {
    block: Box<[u8]>,
    /// In 0..=end. Bytes before it have been returned.
    start: usize,
    /// In start..=end. There is no newline between `start` and it.
    searched: usize,
    /// In 0..=block.len(). Bytes from here on are free.
    end: usize,
    /// The beginning of a line that did not fit the block. At most `line_bytes_max` long.
    long: Vec<u8>,
    /// Bytes so far of a line that is too long; 0 = the line is not too long.
    skipped: u64,
    line_bytes_max: usize,
    /// Number of the last line that was returned. Lines that are too long count.
    number: u64,
}

impl Lines {
    /// Uses blocks of `block_bytes` (at least 1) and permits lines of `line_bytes_max`, newline
    /// included.
    pub(crate) fn new(block_bytes: usize, line_bytes_max: usize) -> Self {
        Lines {
            block: vec![0; block_bytes].into_boxed_slice(),
            start: 0,
            searched: 0,
            end: 0,
            long: Vec::new(),
            skipped: 0,
            line_bytes_max,
            number: 0,
        }
    }

    /// Returns the space for the next bytes, which is never empty. Call [`filled`](Self::filled)
    /// afterwards.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.block.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.block.len() {
            self.set_aside();
        }
        &mut self.block[self.end..]
    }

    /// Notes that `bytes` bytes were put at the beginning of [`space`](Self::space).
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        debug_assert!(self.end <= self.block.len());
    }

    /// Returns the next line that has its newline.
    pub(crate) fn next(&mut self) -> Option<Line<'_>> {
        let Some(at) = memchr::memchr(b'\n', &self.block[self.searched..self.end]) else {
            self.searched = self.end;
            return None;
        };
        let from = self.start;
        let to = self.searched + at + 1;
        self.start = to;
        self.searched = to;
        self.number += 1;
        let number = self.number;
        if self.skipped > 0 || !self.long.is_empty() {
            let (bytes, text) = self.end_of_long(from, to);
            return Some(Line { number, bytes, text: text.map(Cow::Owned) });
        }
        let line = &self.block[from..to];
        let text = (line.len() <= self.line_bytes_max).then_some(Cow::Borrowed(line));
        Some(Line { number, bytes: line.len() as u64, text })
    }

    /// Bytes of a line whose newline has not come yet.
    pub(crate) fn unfinished_bytes(&self) -> u64 {
        self.skipped + (self.long.len() + self.end - self.start) as u64
    }

    /// At the end of the input: returns a last line without a newline, and adds one.
    pub(crate) fn finish(&mut self) -> Option<Line<'_>> {
        if self.unfinished_bytes() == 0 {
            return None;
        }
        self.space()[0] = b'\n';
        self.filled(1);
        self.next()
    }

    /// Makes room in a block that is full of one unfinished line.
    fn set_aside(&mut self) {
        if self.skipped > 0 || self.long.len() + self.end > self.line_bytes_max {
            self.skipped += (self.long.len() + self.end) as u64;
            self.long = Vec::new();
        } else {
            self.reserve(self.end);
            self.long.extend_from_slice(&self.block[..self.end]);
        }
        self.searched = 0;
        self.end = 0;
    }

    /// Returns length and text of a line whose beginning is no longer in the block.
    #[cold]
    fn end_of_long(&mut self, from: usize, to: usize) -> (u64, Option<Vec<u8>>) {
        let mut long = std::mem::take(&mut self.long);
        let bytes = std::mem::take(&mut self.skipped) + (long.len() + to - from) as u64;
        if bytes > self.line_bytes_max as u64 {
            return (bytes, None);
        }
        long.reserve_exact(to - from);
        long.extend_from_slice(&self.block[from..to]);
        (bytes, Some(long))
    }

    /// Doubles the capacity, but never beyond the longest permitted line.
    fn reserve(&mut self, bytes: usize) {
        let needed = self.long.len() + bytes;
        if needed > self.long.capacity() {
            let capacity = needed.max(self.long.capacity() * 2).min(self.line_bytes_max);
            self.long.reserve_exact(capacity - self.long.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a line, or number and length of a line that is too long.
    type Got = Result<Vec<u8>, (u64, u64)>;

    /// Splits `input` with this block size. A read returns at most `read_bytes`.
    fn split(input: &[u8], block: usize, read_bytes: usize, max: usize) -> Vec<Got> {
        let mut lines = Lines::new(block, max);
        let mut got = Vec::new();
        let mut rest = input;
        while !rest.is_empty() {
            let space = lines.space();
            let bytes = rest.len().min(space.len()).min(read_bytes);
            space[..bytes].copy_from_slice(&rest[..bytes]);
            rest = &rest[bytes..];
            lines.filled(bytes);
            while let Some(line) = lines.next() {
                note(line, &mut got);
            }
            let read = &input[..input.len() - rest.len()];
            let unfinished = read.rsplit(|&byte| byte == b'\n').next().unwrap().len() as u64;
            assert_eq!(lines.unfinished_bytes(), unfinished);
        }
        if let Some(line) = lines.finish() {
            note(line, &mut got);
        }
        assert_eq!(lines.finish(), None);
        got
    }

    fn note(line: Line<'_>, got: &mut Vec<Got>) {
        let text = line.text.map(Cow::into_owned);
        assert_eq!(line.number, got.len() as u64 + 1);
        assert!(text.as_ref().is_none_or(|text| text.len() as u64 == line.bytes));
        got.push(text.ok_or((line.number, line.bytes)));
    }

    fn whole(lines: &[&[u8]]) -> Vec<Got> {
        lines.iter().map(|line| Ok(line.to_vec())).collect()
    }

    #[test]
    fn every_block_and_read_size_gives_the_same_lines() {
        let input =
            b"one\n\n\r\ntwo two\r\na much longer line than the others\n\n\x00\xff\xfe\nlast";
        let mut expected: Vec<&[u8]> = input.split_inclusive(|&b| b == b'\n').collect();
        *expected.last_mut().unwrap() = b"last\n";
        for block in 1..=input.len() + 1 {
            for read in 1..=block {
                assert_eq!(split(input, block, read, 1000), whole(&expected), "{block} {read}");
            }
        }
    }

    #[test]
    fn empty_lines_are_records_and_empty_input_is_none() {
        assert_eq!(split(b"\n\n", 16, 16, 100), whole(&[b"\n", b"\n"]));
        assert_eq!(split(b"", 16, 16, 100), []);
    }

    #[test]
    fn crlf_and_lone_cr_are_kept() {
        assert_eq!(split(b"a\r\nb\rc\r", 4, 4, 100), whole(&[b"a\r\n", b"b\rc\r\n"]));
    }

    #[test]
    fn a_missing_newline_is_added_to_the_last_line_only() {
        assert_eq!(split(b"a\nb", 16, 16, 100), whole(&[b"a\n", b"b\n"]));
        assert_eq!(split(b"a\nb\n", 16, 16, 100), whole(&[b"a\n", b"b\n"]));
    }

    #[test]
    fn lines_up_to_the_limit_pass_and_longer_ones_are_counted() {
        // With the newline, 5 bytes are the limit and 6 are too many, wherever the blocks end.
        for block in 1..=20 {
            let lines = split(b"four\nfive5\nok\nlonglonglong\nend", block, block, 5);
            let expected =
                [Ok(b"four\n".to_vec()), Err((2, 6)), Ok(b"ok\n".to_vec()), Err((4, 13))];
            assert_eq!(lines[..4], expected, "block {block}");
            assert_eq!(lines[4..], whole(&[b"end\n"]), "block {block}");
        }
    }

    #[test]
    fn a_last_line_that_only_its_added_newline_makes_too_long_is_counted() {
        for block in 1..=8 {
            assert_eq!(split(b"12345", block, block, 5), [Err((1, 6))], "block {block}");
            assert_eq!(split(b"1234", block, block, 5), whole(&[b"1234\n"]), "block {block}");
        }
    }

    #[test]
    fn memory_does_not_grow_with_a_line() {
        let (block, max) = (64, 1000);
        let mut lines = Lines::new(block, max);
        for _ in 0..10_000 {
            let bytes = lines.space().len();
            lines.filled(bytes);
            assert_eq!(lines.next(), None);
            assert!(lines.long.capacity() <= max);
        }
        let line = lines.finish();
        assert_eq!(line, Some(Line { number: 1, bytes: 10_000 * 64 + 1, text: None }));
        assert_eq!(lines.long.capacity(), 0);
    }
}
