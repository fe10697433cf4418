//! A way into a writer that a thread holds, maybe for longer than the writer is open.
//!
//! Guarantees: each answer of the writer is checked against what the caller may expect.

use bufferedwriter::WriteError;
use bufferedwriter_stress::way::Way;

use crate::account::Account;
use crate::failure::fail;
use crate::mailbox::{Mail, Memory};
use crate::random::Random;
use crate::record;

pub(crate) struct Held {
    way: Way,
    number: u32,
    account: &'static Account,
    memory: Memory,
}

impl Held {
    /// Through the writer itself.
    pub(crate) fn writer(mail: &Mail) -> Self {
        Held::new(mail, Way::Writer(mail.writer.clone()))
    }

    /// Through a producer of its own.
    pub(crate) fn producer(mail: &Mail) -> Self {
        Held::new(mail, Way::Producer(mail.writer.producer()))
    }

    fn new(mail: &Mail, way: Way) -> Self {
        let &Mail { number, account, memory, .. } = mail;
        Held { way, number, account, memory }
    }

    /// Writes a record of this id, made in `buffer`, in one of the ways that there are.
    pub(crate) fn write(
        &mut self,
        id: u64,
        random: &mut Random,
        buffer: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        record::make(buffer, self.number, id, self.len(random));
        let was_closed = self.account.is_closed();
        let result = self.way.write(buffer, random);
        self.check(id, buffer.len(), was_closed, result);
        result
    }

    /// Most records are small, some larger than a chunk, few larger than all memory.
    fn len(&self, random: &mut Random) -> usize {
        let Memory { size, chunks } = self.memory;
        let more = match random.below(64) {
            0 => size * chunks + 1,
            1..4 => random.below(3 * size),
            _ => random.below(48),
        };
        record::HEAD + more
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
