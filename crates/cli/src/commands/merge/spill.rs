//! Sorted runs of lines in a file without a name, which is gone with the process.
//!
//! Guarantees: one descriptor for all runs. A piece comes back with its key and rank as it was put.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::commands::merge::key::Key;
use crate::sys;

/// Bytes of one write.
const WRITE_BYTES: usize = 256 << 10;
/// Longer pieces are cut, so that the smallest buffer of a reader has room for each.
const PIECE_MAX: usize = 32 << 10;
/// Bytes of a rank and of a length.
const RANK_BYTES: usize = 8;
const LEN_BYTES: usize = 4;

/// The file, made when it is needed.
pub(crate) struct Spill {
    dir: PathBuf,
    file: OnceLock<File>,
    /// Where the next run begins.
    end: AtomicU64,
}

/// A sorted part of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<K> {
    at: u64,
    pub(crate) bytes: u64,
    /// Key and rank of its first piece.
    pub(crate) first: (K, u64),
}

/// Bytes that a piece takes in a run.
pub(crate) fn piece_bytes<K: Key>(len: usize) -> u64 {
    (len + header_bytes::<K>() * len.div_ceil(PIECE_MAX)) as u64
}

/// Bytes of key, rank and length.
const fn header_bytes<K: Key>() -> usize {
    K::BYTES + RANK_BYTES + LEN_BYTES
}

impl Spill {
    pub(crate) fn new(dir: &Path) -> Self {
        Spill { dir: dir.to_owned(), file: OnceLock::new(), end: AtomicU64::new(0) }
    }

    /// An error with the directory's name.
    pub(crate) fn error(&self, what: &str, error: io::Error) -> io::Error {
        let message = format!("{what} a temp file in {}: {error}", self.dir.display());
        io::Error::new(error.kind(), message)
    }

    /// Makes the file if it is not there. Call it from one thread before the others need it.
    pub(crate) fn open(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = tempfile::tempfile_in(&self.dir).map_err(|e| self.error("create", e))?;
        Ok(self.file.get_or_init(|| file))
    }

    /// Begins a run of this many bytes. Several may be written at once.
    pub(crate) fn begin<K: Key>(&self, bytes: u64) -> io::Result<RunWriter<'_, K>> {
        let file = self.open()?;
        let at = self.end.fetch_add(bytes, Ordering::Relaxed);
        Ok(RunWriter { spill: self, file, at, written: at, buffer: Vec::new(), first: None })
    }

    /// Begins a run whose length is not known. No other may begin before it is finished.
    pub(crate) fn begin_last<K: Key>(&self) -> io::Result<RunWriter<'_, K>> {
        self.begin(0)
    }
}

/// Writes a run.
pub(crate) struct RunWriter<'a, K> {
    spill: &'a Spill,
    file: &'a File,
    at: u64,
    written: u64,
    buffer: Vec<u8>,
    first: Option<(K, u64)>,
}

impl<K: Key> RunWriter<'_, K> {
    /// Appends a piece.
    #[inline]
    pub(crate) fn put(&mut self, key: K, rank: u64, piece: &[u8]) -> io::Result<()> {
        self.first.get_or_insert((key, rank));
        for piece in piece.chunks(PIECE_MAX) {
            let at = self.buffer.len();
            self.buffer.resize(at + K::BYTES, 0);
            key.put(&mut self.buffer[at..]);
            self.buffer.extend_from_slice(&rank.to_le_bytes());
            self.buffer.extend_from_slice(&(piece.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(piece);
        }
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let result = sys::write_all_at(self.file, &self.buffer, self.written);
        result.map_err(|error| self.spill.error("write", error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the run; `None` if it is empty.
    pub(crate) fn finish(mut self) -> io::Result<Option<Run<K>>> {
        self.write()?;
        self.spill.end.fetch_max(self.written, Ordering::Relaxed);
        let bytes = self.written - self.at;
        Ok(self.first.map(|first| Run { at: self.at, bytes, first }))
    }
}

/// Reads a run.
pub(crate) struct RunReader<'a, K> {
    spill: &'a Spill,
    /// Offset in the file of what is not in the buffer yet, and of the run's end.
    at: u64,
    end: u64,
    buffer: Box<[u8]>,
    /// Where the piece that is being shown begins and ends.
    start: usize,
    next: usize,
    filled: usize,
    key: K,
    rank: u64,
}

impl<'a, K: Key> RunReader<'a, K> {
    /// With a buffer of this many bytes, at least 64 KiB.
    pub(crate) fn new(spill: &'a Spill, run: &Run<K>, buffer_bytes: usize) -> Self {
        let buffer = vec![0; buffer_bytes].into_boxed_slice();
        let (key, rank) = run.first;
        let (at, end) = (run.at, run.at + run.bytes);
        RunReader { spill, at, end, buffer, start: 0, next: 0, filled: 0, key, rank }
    }

    #[inline]
    pub(crate) fn piece(&self) -> &[u8] {
        &self.buffer[self.start..self.next]
    }

    #[inline]
    pub(crate) fn key(&self) -> K {
        self.key
    }

    #[inline]
    pub(crate) fn rank(&self) -> u64 {
        self.rank
    }

    /// Bytes that are not read yet.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.at + (self.filled - self.next) as u64
    }

    /// Goes to the next piece. Returns whether there is one.
    #[inline]
    pub(crate) fn next(&mut self) -> io::Result<bool> {
        let header = const { header_bytes::<K>() };
        if !self.has(header)? {
            return Ok(false);
        }
        let bytes = &self.buffer[self.next..][..header];
        let (key, bytes) = bytes.split_at(K::BYTES);
        self.key = K::get(key);
        self.rank = <i64 as Key>::get(&bytes[..RANK_BYTES]) as u64;
        let len = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
        self.has(header + len)?;
        self.start = self.next + header;
        self.next = self.start + len;
        Ok(true)
    }

    /// Whether this many bytes are in the buffer from `next` on, after reading if need be.
    #[inline]
    fn has(&mut self, bytes: usize) -> io::Result<bool> {
        if self.filled - self.next >= bytes {
            return Ok(true);
        }
        self.buffer.copy_within(self.next..self.filled, 0);
        (self.filled, self.next) = (self.filled - self.next, 0);
        let want = ((self.buffer.len() - self.filled) as u64).min(self.end - self.at) as usize;
        let into = &mut self.buffer[self.filled..][..want];
        let read = read_exact_at(self.spill.open()?, into, self.at);
        read.map_err(|error| self.spill.error("read", error))?;
        self.at += want as u64;
        self.filled += want;
        Ok(self.filled >= bytes)
    }
}

fn read_exact_at(file: &File, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !into.is_empty() {
        match sys::read_at(file, into, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                into = &mut into[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
