//! What lines are ordered by: a time, or the first bytes.

use std::fmt::Debug;

use crate::commands::merge::time::{Format, Times};

/// A value by which lines are ordered.
pub(crate) trait Key: Copy + Ord + Send + Sync + Debug + 'static {
    /// Before all others.
    const FIRST: Self;
    /// Length of its form in a file.
    const BYTES: usize;

    /// The line's, if it has one.
    fn of(line: &[u8], finder: &mut Finder) -> Option<Self>;

    /// The key this much earlier, for those that are times.
    fn earlier(self, nanos: i64) -> Self;

    fn put(self, into: &mut [u8]);

    fn get(from: &[u8]) -> Self;
}

/// What finds the keys of one file's lines.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    pub(crate) times: Times,
    /// Of [`Format::Prefix`].
    prefix: usize,
}

impl Finder {
    pub(crate) fn new(format: &Format, times: Times) -> Self {
        let prefix = match format {
            Format::Prefix(bytes) => *bytes,
            _ => 0,
        };
        Finder { times, prefix }
    }
}

/// Nanoseconds since 1970.
impl Key for i64 {
    const FIRST: i64 = i64::MIN;
    const BYTES: usize = 8;

    #[inline]
    fn of(line: &[u8], finder: &mut Finder) -> Option<i64> {
        finder.times.of(line)
    }

    fn earlier(self, nanos: i64) -> i64 {
        self.saturating_sub(nanos)
    }

    fn put(self, into: &mut [u8]) {
        into.copy_from_slice(&self.to_le_bytes());
    }

    fn get(from: &[u8]) -> i64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(from);
        i64::from_le_bytes(bytes)
    }
}

/// The first bytes of a line, the earlier ones in the higher bits; zeros where the line has ended.
pub(crate) type Prefix = [u64; 4];

impl Key for Prefix {
    const FIRST: Prefix = [0; 4];
    const BYTES: usize = 32;

    /// Lines that begin with a blank go on with the line before, and so do empty ones.
    #[inline]
    fn of(line: &[u8], finder: &mut Finder) -> Option<Prefix> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if matches!(line, [] | [b' ' | b'\t', ..]) {
            return None;
        }
        let mut bytes = [0; 32];
        let len = line.len().min(finder.prefix);
        bytes[..len].copy_from_slice(&line[..len]);
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * at..][..8]);
            u64::from_be_bytes(word)
        };
        Some([word(0), word(1), word(2), word(3)])
    }

    fn earlier(self, _: i64) -> Prefix {
        self
    }

    fn put(self, into: &mut [u8]) {
        for (word, into) in self.iter().zip(into.chunks_exact_mut(8)) {
            into.copy_from_slice(&word.to_le_bytes());
        }
    }

    fn get(from: &[u8]) -> Prefix {
        let mut words = from.chunks_exact(8).map(<i64 as Key>::get);
        std::array::from_fn(|_| words.next().unwrap_or_default() as u64)
    }
}
