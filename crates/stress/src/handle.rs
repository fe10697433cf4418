//! A handle of a writer, either a `BufferedWriter` or a `Producer`, whose records go through all kinds of calls.

use std::fmt;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Producer, WriteError};

use crate::failure::fail;
use crate::message::DROPS;
use bufferedwriter_testkit::random::Random;

/// Timeout of the writes that wait for memory.
const TIMEOUT: Duration = Duration::from_millis(2);

/// A macro, since writers and producers share no trait: the methods take `&self` and `&mut self`.
macro_rules! any_call {
    ($to:expr, $record:expr, $random:expr) => {
        match $random.below(16) {
            0 => $to.write_timeout($record, TIMEOUT),
            1..4 => $to.send(DROPS.message($record)).map_err(|refused| refused.kind()),
            4..7 => $to.record(|w| $record.chunks(29).try_for_each(|part| w.write_bytes(part))),
            7 => {
                // A formatter that fails must leave nothing behind; the record itself follows.
                let failed = $to.record(|w| {
                    w.write_bytes($record)?;
                    Err(fmt::Error)
                });
                if failed.is_ok() {
                    fail("a formatter failed, but its record was accepted");
                }
                $to.write($record)
            }
            _ => $to.write($record),
        }
    };
}

/// A handle of a writer.
pub enum Handle {
    /// The writer itself.
    Writer(BufferedWriter),
    /// A producer of its own.
    Producer(Producer),
}

impl Handle {
    /// Hands over a record by a call that is chosen at random.
    ///
    /// # Errors
    /// As the call that was chosen.
    pub fn write(&mut self, record: &[u8], random: &mut Random) -> Result<(), WriteError> {
        match self {
            // A clone that is dropped at once.
            Handle::Writer(writer) if random.one_in(8) => writer.clone().write(record),
            Handle::Writer(writer) => any_call!(writer, record, random),
            Handle::Producer(producer) => any_call!(producer, record, random),
        }
    }
}
