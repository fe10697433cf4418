//! One event, one record.
//!
//! Guarantees: the bytes of all calls that write an event are one record, without colour codes. No
//! call blocks or fails.

use std::fmt;
use std::io;

use bufferedwriter::BufferedWriter;
use tracing_subscriber::fmt::MakeWriter;

use crate::buffer;

/// What a subscriber writes its events to: see [`writer`](crate::writer).
#[derive(Clone)]
pub struct EventWriter {
    files: BufferedWriter,
}

impl EventWriter {
    pub(crate) fn new(files: BufferedWriter) -> Self {
        EventWriter { files }
    }
}

impl fmt::Debug for EventWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWriter").finish_non_exhaustive()
    }
}

impl<'a> MakeWriter<'a> for EventWriter {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event { files: &self.files, bytes: buffer::take() }
    }
}

/// One event. It becomes a record when it is dropped.
pub struct Event<'a> {
    files: &'a BufferedWriter,
    bytes: Vec<u8>,
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("bytes", &self.bytes.len()).finish()
    }
}

impl io::Write for Event<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: files become visible whole.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        strip_colours(&mut self.bytes);
        if !self.bytes.is_empty() {
            // What is refused is counted by the writer.
            let _ = self.files.write(&self.bytes);
        }
        buffer::give_back(std::mem::take(&mut self.bytes));
    }
}

/// Removes the sequences that set colours and fonts (ECMA-48, SGR): `ESC [`, digits and semicolons, `m`.
fn strip_colours(bytes: &mut Vec<u8>) {
    let Some(first) = memchr::memchr(0x1b, bytes) else { return };
    let (mut kept, mut at) = (first, first);
    while at < bytes.len() {
        match colours_at(&bytes[at..]) {
            0 => {
                bytes[kept] = bytes[at];
                (kept, at) = (kept + 1, at + 1);
            }
            len => at += len,
        }
    }
    bytes.truncate(kept);
}

/// Length of the sequence with which these bytes begin; 0 if there is none.
fn colours_at(bytes: &[u8]) -> usize {
    let Some(rest) = bytes.strip_prefix(b"\x1b[") else { return 0 };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    if rest.get(digits) == Some(&b'm') { digits + 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_all_else_stays() {
        for (before, after) in [
            (&b""[..], &b""[..]),
            (b"plain\n", b"plain\n"),
            (b"\x1b[2m12:00\x1b[0m \x1b[1;31mERROR\x1b[0m x\n", b"12:00 ERROR x\n"),
            (b"\x1b[m", b""),
            (b"\x1b[31", b"\x1b[31"),
            (b"\x1b", b"\x1b"),
            (b"\x1b[2J\x1b[1m\x1b\x1b[0m\xff", b"\x1b[2J\x1b\xff"),
        ] {
            let mut bytes = before.to_vec();
            strip_colours(&mut bytes);
            assert_eq!(bytes, after, "{before:?}");
        }
    }
}
