//! One thread that writes for a while, and says what it was told.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use bufferedwriter::WriteError;
use bufferedwriter_stress::failure::fail;
use bufferedwriter_stress::random::Random;
use bufferedwriter_stress::way::Way;
use bufferedwriter_stress::{record, seen};

/// What one producer was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) producer: u32,
    /// Accepted, with sequences from 0 on.
    pub(crate) records: u32,
    pub(crate) bytes: u64,
    pub(crate) refused: u64,
    /// By a writer that was closed.
    pub(crate) closed: bool,
}

pub(crate) struct Seat {
    pub(crate) way: Way,
    pub(crate) writer: u32,
    pub(crate) producer: u32,
    /// Chunks of the writer, to write records that are larger.
    pub(crate) size: usize,
    pub(crate) random: Random,
    /// Calls, until the thread ends by itself.
    pub(crate) calls: usize,
}

impl Seat {
    /// The thread's life: bursts and pauses, until its calls are over, `end` is set, or the writer is
    /// closed.
    pub(crate) fn sit(mut self, end: &'static AtomicBool) -> Told {
        let mut told = Told { producer: self.producer, ..Told::default() };
        let mut buffer = Vec::new();
        while self.calls > 0 && !told.closed && !end.load(Relaxed) {
            let burst = 1 + self.random.below(100);
            for _ in 0..burst.min(self.calls) {
                self.calls -= 1;
                self.write(&mut told, &mut buffer);
                if told.closed {
                    break;
                }
            }
            if !self.random.once_in(4) {
                thread::sleep(Duration::from_micros(self.random.below(4000) as u64));
            }
        }
        told
    }

    fn write(&mut self, told: &mut Told, buffer: &mut Vec<u8>) {
        let more = match self.random.below(256) {
            0 => self.random.below(3 * self.size),
            1..16 => self.random.below(self.size / 2 + 1),
            _ => self.random.below(200),
        };
        let id = seen::id(self.producer, told.records);
        record::make(buffer, self.writer, id, record::HEAD + more);
        match self.way.write(buffer, &mut self.random) {
            Ok(()) => {
                told.records += 1;
                told.bytes += buffer.len() as u64;
            }
            Err(WriteError::Closed) => told.closed = true,
            Err(WriteError::Full) => {
                told.refused += 1;
                thread::sleep(Duration::from_micros(200));
            }
            // More than all memory: of few chunks that is not much.
            Err(WriteError::TooLarge) => told.refused += 1,
            Err(other) => fail(&format!("a write says {other:?}")),
        }
    }
}
