//! One thread that writes for a while and counts the answers that it got.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter::WriteError;
use bufferedwriter_stress::failure::fail;
use bufferedwriter_stress::handle::Handle;
use bufferedwriter_stress::visible;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::{self, Id};

/// The answers that one caller got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) producer: u32,
    /// Accepted records, whose sequence numbers begin with 0.
    pub(crate) records: u32,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
    /// The writer was closed.
    pub(crate) closed: bool,
}

/// A thread's handle, and what it is to do with it.
pub(crate) struct Caller {
    pub(crate) handle: Handle,
    pub(crate) writer: u32,
    pub(crate) producer: u32,
    /// Bytes of the writer's chunks: some records are to be larger.
    pub(crate) size: usize,
    pub(crate) random: Random,
    /// Calls that are left until the thread ends by itself.
    pub(crate) calls: usize,
}

impl Caller {
    /// The thread's life: bursts and pauses, until its calls are used up, `stop` is set, or the writer is
    /// closed.
    pub(crate) fn run(mut self, stop: &'static AtomicBool) -> Answers {
        let mut answers = Answers { producer: self.producer, ..Answers::default() };
        let mut buffer = Vec::new();
        while self.calls > 0 && !answers.closed && !stop.load(Relaxed) {
            let burst = 1 + self.random.below(100);
            for _ in 0..burst.min(self.calls) {
                self.calls -= 1;
                self.write(&mut answers, &mut buffer);
                if answers.closed {
                    break;
                }
            }
            if !self.random.one_in(4) {
                thread::sleep(Duration::from_micros(self.random.below(4000) as u64));
            }
        }
        answers
    }

    fn write(&mut self, answers: &mut Answers, buffer: &mut Vec<u8>) {
        let more = match self.random.below(256) {
            0 => self.random.below(3 * self.size),
            1..16 => self.random.below(self.size / 2 + 1),
            _ => self.random.below(200),
        };
        let seq = visible::number(self.producer, answers.records);
        record::make(buffer, Id { producer: self.writer, seq }, 16 + more);
        match self.handle.write(buffer, &mut self.random) {
            Ok(()) => {
                answers.records += 1;
                answers.bytes += buffer.len() as u64;
            }
            Err(WriteError::Closed) => answers.closed = true,
            Err(WriteError::Full) => {
                answers.refused += 1;
                thread::sleep(Duration::from_micros(200));
            }
            // Larger than all memory, which is small if there are few chunks.
            Err(WriteError::TooLarge) => answers.refused += 1,
            Err(other) => fail(&format!("a write says {other:?}")),
        }
    }
}
