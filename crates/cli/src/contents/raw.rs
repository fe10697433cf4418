//! The bytes of a file as they are on the disk, with the offset of the next one.

use std::fs::File;
use std::io::{self, BufRead, Read};

use crate::sys;

/// Bytes of one read of a compressed file.
const BUFFER_BYTES: usize = 64 << 10;

/// Reads a file at offsets of its own.
pub(super) struct Raw {
    file: File,
    buffer: Box<[u8]>,
    /// In 0..=end.
    start: usize,
    /// In start..=buffer.len().
    end: usize,
    /// Offset in the file of `buffer[end]`.
    read_to: u64,
    /// The system refused a read. Nothing more is asked of it.
    pub(super) error: Option<io::Error>,
}

impl Raw {
    pub(super) fn new(file: File) -> Self {
        Raw { file, buffer: Box::default(), start: 0, end: 0, read_to: 0, error: None }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.read_to - (self.end - self.start) as u64
    }

    /// Goes on at this offset.
    pub(super) fn seek(&mut self, offset: u64) {
        (self.start, self.end, self.read_to) = (0, 0, offset);
    }

    /// Reads the next bytes past the buffer, which must be empty.
    pub(super) fn read_directly(&mut self, into: &mut [u8]) -> usize {
        debug_assert_eq!(self.start, self.end);
        loop {
            match sys::read_at(&self.file, into, self.read_to) {
                Ok(bytes) => {
                    self.read_to += bytes as u64;
                    return bytes;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.error = Some(error);
                    return 0;
                }
            }
        }
    }

    /// At least this many bytes from the next one on, or all that are left.
    pub(super) fn peek(&mut self, bytes: usize) -> &[u8] {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        }
        if self.end - self.start < bytes {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while self.end - self.start < bytes && self.error.is_none() {
            // The buffer is away, so that it can be lent.
            let mut buffer = std::mem::take(&mut self.buffer);
            let (start, end) = (self.start, self.end);
            (self.start, self.end) = (0, 0);
            let read = self.read_directly(&mut buffer[end..]);
            (self.buffer, self.start, self.end) = (buffer, start, end + read);
            if read == 0 {
                break;
            }
        }
        &self.buffer[self.start..self.end]
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let bytes = available.len().min(into.len());
        into[..bytes].copy_from_slice(&available[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}

impl BufRead for Raw {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.peek(1))
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
    }
}
