//! A way into a writer, and the kinds of calls that there are to hand over a record.

use std::fmt;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Producer, WriteError};

use crate::failure::fail;
use crate::message::Message;
use crate::random::Random;

/// How long the few that wait for memory do so.
const PATIENCE: Duration = Duration::from_millis(2);

/// Writers and producers have the same methods, on `&self` and on `&mut self`.
macro_rules! any_way {
    ($to:expr, $record:expr, $random:expr) => {
        match $random.below(16) {
            0 => $to.write_timeout($record, PATIENCE),
            1..4 => $to.send(Message::new($record)).map_err(|refused| refused.kind()),
            4..7 => $to.record(|w| $record.chunks(29).try_for_each(|part| w.write_bytes(part))),
            7 => {
                // One that fails leaves nothing behind; then the record itself.
                let failed = $to.record(|w| {
                    w.write_bytes($record)?;
                    Err(fmt::Error)
                });
                if failed.is_ok() {
                    fail("a formatter failed, and its record was accepted");
                }
                $to.write($record)
            }
            _ => $to.write($record),
        }
    };
}

/// A handle of a writer.
pub enum Way {
    /// The writer itself.
    Writer(BufferedWriter),
    /// A producer of its own.
    Producer(Producer),
}

impl Way {
    /// Hands over a record by one of the calls that there are.
    ///
    /// # Errors
    /// As the call that was chosen.
    pub fn write(&mut self, record: &[u8], random: &mut Random) -> Result<(), WriteError> {
        match self {
            // A clone that is gone at once.
            Way::Writer(writer) if random.once_in(8) => writer.clone().write(record),
            Way::Writer(writer) => any_way!(writer, record, random),
            Way::Producer(producer) => any_way!(producer, record, random),
        }
    }
}
