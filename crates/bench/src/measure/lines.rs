//! Self-checking records: each is a line that begins and ends with its number, so what landed can be compared
//! with what was accepted.
//!
//! Guarantees: detects a line that is torn, cut, mixed with another, duplicated or never written.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Digits of a number.
const DIGITS: usize = 15;
/// Two numbers, a blank in between, a newline.
pub const RECORD_BYTES_MIN: usize = 2 * DIGITS + 2;
/// A thread's numbers begin at the thread's index times this.
const PER_THREAD: u64 = 1_000_000_000_000;
/// The number of threads whose numbers fit in [`DIGITS`] digits.
pub const THREADS_MAX: usize = 1000;

/// A thread's current line.
pub struct Numbered {
    line: Vec<u8>,
}

impl Numbered {
    /// The first line of a thread.
    ///
    /// # Panics
    ///
    /// If the record has no room for its numbers, or there are too many threads.
    pub fn new(thread: usize, record_bytes: usize) -> Self {
        assert!(record_bytes >= RECORD_BYTES_MIN && thread < THREADS_MAX);
        let first = format!("{:0DIGITS$}", thread as u64 * PER_THREAD);
        let mut line = first.clone().into_bytes();
        line.push(b' ');
        let filling = record_bytes - RECORD_BYTES_MIN;
        line.extend((0..filling).map(fill));
        line.extend_from_slice(first.as_bytes());
        line.push(b'\n');
        Numbered { line }
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.line
    }

    /// Moves on to the next line. It changes a digit or two only, since it is part of a timed loop.
    #[inline]
    pub fn advance(&mut self) {
        let end = self.line.len() - 1;
        let mut digit = DIGITS;
        while digit > 0 {
            digit -= 1;
            let next = if self.line[digit] == b'9' { b'0' } else { self.line[digit] + 1 };
            self.line[digit] = next;
            self.line[end - DIGITS + digit] = next;
            if next != b'0' {
                return;
            }
        }
    }
}

/// The byte at a place between the numbers.
fn fill(place: usize) -> u8 {
    b'a' + (place % 26) as u8
}

/// What the files hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub files: u64,
    /// Accepted lines that are there, each counted once.
    pub records: u64,
    /// Lines, or parts of lines, that differ from what was written.
    pub torn: u64,
    /// Whole lines that are there again.
    pub twice: u64,
    /// Whole lines that were not accepted.
    pub foreign: u64,
}

impl Checked {
    /// All lines are there once, and nothing else.
    pub fn complete(&self, accepted: u64) -> bool {
        self.records == accepted && self.torn + self.twice + self.foreign == 0
    }
}

/// Compares all visible files of `dir` with what was accepted: of each thread, the given number of first lines.
pub fn check(dir: &Path, record_bytes: usize, accepted: &[u64]) -> io::Result<Checked> {
    let mut seen: Vec<Bits> = accepted.iter().map(|&lines| Bits::new(lines)).collect();
    let mut checked = Checked::default();
    visit(dir, &mut |line| {
        let Some(number) = number_of(line, record_bytes) else {
            checked.torn += 1;
            return;
        };
        let (thread, line) = ((number / PER_THREAD) as usize, number % PER_THREAD);
        match seen.get_mut(thread).and_then(|bits| bits.set(line)) {
            None => checked.foreign += 1,
            Some(true) => checked.twice += 1,
            Some(false) => checked.records += 1,
        }
    })
    .map(|files| checked.files = files)?;
    Ok(checked)
}

/// Lines in all visible files of `dir`.
pub fn count(dir: &Path) -> io::Result<u64> {
    let mut lines = 0;
    visit(dir, &mut |line| lines += u64::from(line.ends_with(b"\n")))?;
    Ok(lines)
}

/// Calls `see` with each line, newline included (the last line of a file may lack it). Returns the number of
/// files.
fn visit(dir: &Path, see: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
    let (mut files, mut line) = (0, Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() || entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        files += 1;
        let mut reader = BufReader::with_capacity(1 << 20, File::open(entry.path())?);
        while reader.read_until(b'\n', &mut line)? > 0 {
            see(&line);
            line.clear();
        }
    }
    Ok(files)
}

fn number_of(line: &[u8], record_bytes: usize) -> Option<u64> {
    if line.len() != record_bytes || *line.last()? != b'\n' {
        return None;
    }
    let (first, rest) = line[..record_bytes - 1].split_at(DIGITS);
    let (filling, last) = rest.split_at(rest.len() - DIGITS);
    let (blank, filling) = filling.split_first()?;
    let as_written = filling.iter().enumerate().all(|(place, byte)| *byte == fill(place));
    if *blank != b' ' || first != last || !as_written {
        return None;
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    first.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}

/// A bit for each line.
struct Bits {
    words: Vec<u64>,
    len: u64,
}

impl Bits {
    fn new(len: u64) -> Self {
        Bits { words: vec![0; len.div_ceil(64) as usize], len }
    }

    /// Sets a bit. Returns whether it was set before; `None` if there is no such bit.
    fn set(&mut self, at: u64) -> Option<bool> {
        if at >= self.len {
            return None;
        }
        let (word, bit) = (&mut self.words[(at / 64) as usize], 1 << (at % 64));
        let before = *word & bit != 0;
        *word |= bit;
        Some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    fn lines(thread: usize, record_bytes: usize, count: usize) -> Vec<Vec<u8>> {
        let mut line = Numbered::new(thread, record_bytes);
        let mut next = || {
            let bytes = line.bytes().to_vec();
            line.advance();
            bytes
        };
        (0..count).map(|_| next()).collect()
    }

    fn checked(files: &[Vec<u8>], record_bytes: usize, accepted: &[u64]) -> Checked {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        for (number, bytes) in files.iter().enumerate() {
            std::fs::write(scratch.path().join(number.to_string()), bytes).unwrap();
        }
        check(scratch.path(), record_bytes, accepted).unwrap()
    }

    #[test]
    fn numbers_count_up() {
        for record_bytes in [RECORD_BYTES_MIN, 33, 128] {
            for (expected, line) in lines(0, record_bytes, 1234).iter().enumerate() {
                assert_eq!(number_of(line, record_bytes), Some(expected as u64));
            }
        }
        assert_eq!(number_of(&lines(999, 64, 2)[1], 64), Some(999_000_000_000_001));
    }

    #[test]
    fn all_lines_of_two_threads_in_two_files() {
        let files = [lines(0, 128, 100).concat(), lines(1, 128, 50).concat()];
        let checked = checked(&files, 128, &[100, 50]);
        assert_eq!(checked, Checked { files: 2, records: 150, ..Checked::default() });
        assert!(checked.complete(150));
        assert!(!checked.complete(151));
    }

    #[test]
    fn each_defect_is_found() {
        let good = lines(0, 64, 10);
        let with = |bytes: Vec<u8>| checked(&[good.concat(), bytes], 64, &[10]);
        assert_eq!(with(good[3].clone()).twice, 1);
        assert_eq!(with(lines(0, 64, 11)[10].clone()).foreign, 1);
        assert_eq!(with(lines(1, 64, 1)[0].clone()).foreign, 1);
        assert_eq!(with(good[3][..40].to_vec()).torn, 1);
        assert_eq!(with(good[3][10..].to_vec()).torn, 1);
        // The first half of one and the second half of another.
        assert_eq!(with([&good[3][..30], &good[4][30..]].concat()).torn, 1);
        let mut filling = good[3].clone();
        filling[20] = b'!';
        assert_eq!(with(filling).torn, 1);
        assert!(!checked(&[good[1..].concat()], 64, &[10]).complete(10));
    }

    #[test]
    fn hidden_files_are_not_there_yet() {
        let scratch = Scratch::new(&std::env::temp_dir()).unwrap();
        std::fs::write(scratch.path().join(".hidden"), "a\nb\n").unwrap();
        std::fs::write(scratch.path().join("visible"), "a\nb\nc").unwrap();
        assert_eq!(count(scratch.path()).unwrap(), 2);
    }
}
