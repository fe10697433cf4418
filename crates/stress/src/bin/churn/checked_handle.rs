//! A handle that a thread holds, maybe for longer than the writer is open.
//!
//! Guarantees: each answer of the writer is checked against its account and its memory.

use bufferedwriter::WriteError;
use bufferedwriter_stress::failure::fail;
use bufferedwriter_stress::handle::Handle;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::{self, Id};

use crate::account::Account;
use crate::handoff::{Memory, NewWriter};

/// Bytes of the smallest records, unless their head needs more.
const LEN_MIN: usize = 16;

pub(crate) struct CheckedHandle {
    handle: Handle,
    number: u32,
    account: &'static Account,
    memory: Memory,
}

impl CheckedHandle {
    /// A clone of the writer.
    pub(crate) fn writer(new: &NewWriter) -> Self {
        CheckedHandle::new(new, Handle::Writer(new.writer.clone()))
    }

    /// A producer of its own.
    pub(crate) fn producer(new: &NewWriter) -> Self {
        CheckedHandle::new(new, Handle::Producer(new.writer.producer()))
    }

    fn new(new: &NewWriter, handle: Handle) -> Self {
        let &NewWriter { number, account, memory, .. } = new;
        CheckedHandle { handle, number, account, memory }
    }

    /// Makes a record of this id in `buffer`, hands it over by a random call, and checks the answer.
    pub(crate) fn write(
        &mut self,
        id: u64,
        random: &mut Random,
        buffer: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        record::make(buffer, Id { producer: self.number, seq: id }, self.len(random));
        let was_closed = self.account.is_closed();
        let result = self.handle.write(buffer, random);
        self.check(id, buffer.len(), was_closed, result);
        result
    }

    /// Most records are small, some are larger than a chunk, a few are larger than all memory.
    fn len(&self, random: &mut Random) -> usize {
        let Memory { size, chunks } = self.memory;
        let more = match random.below(64) {
            0 => size * chunks + 1,
            1..4 => random.below(3 * size),
            _ => random.below(48),
        };
        LEN_MIN + more
    }

    fn check(&self, id: u64, len: usize, was_closed: bool, result: Result<(), WriteError>) {
        let too_large = self.memory.is_too_small_for(len);
        match result {
            Ok(()) if too_large => fail("a record larger than all memory was accepted"),
            Ok(()) => self.account.accepted(id, len, was_closed),
            Err(WriteError::Closed) => self.account.refused(),
            Err(error) if was_closed => fail(&format!("a closed writer says {error:?}")),
            Err(WriteError::TooLarge) if !too_large => {
                fail(&format!("{len} bytes are too large for {:?}", self.memory))
            }
            Err(_) => {}
        }
    }
}
