//! Bytes as a file that is only read: no test, and no fuzzer, needs a disk for that.

use std::io::{self, IoSlice};

use super::{facts_of, read_from};
use crate::fs::{Facts, FsFile};

/// The most that one read returns: files come in pieces.
const PIECE: usize = 5000;

/// The bytes.
pub(crate) struct Held(pub(crate) Vec<u8>);

impl FsFile for Held {
    fn write_at(&mut self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
        unreachable!("nothing is written to a file that is read")
    }
    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let room = bytes.len().min(PIECE);
        Ok(read_from(&self.0, &mut bytes[..room], offset))
    }
    fn facts(&self) -> io::Result<Facts> {
        Ok(facts_of(self.0.len(), 0))
    }
    fn set_len(&mut self, _: u64) -> io::Result<()> {
        unreachable!("nobody changes the length of a file that is read")
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn try_lock(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(Held(self.0.clone())))
    }
}
