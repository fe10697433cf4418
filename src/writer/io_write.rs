//! Writers and producers as [`io::Write`]: one call is one record.
//!
//! Guarantees: `write_vectored` and `write_fmt` write one record each too, so that neither `write!`
//! nor a record in parts is torn. Errors keep their cause, under the matching `io::ErrorKind`.
//! Never blocks.

use std::fmt::{self, Arguments};
use std::io::{self, IoSlice, Write};

use crate::accept::formatted::RecordWriter;
use crate::writer::BufferedWriter;
use crate::writer::producer::Producer;

/// Implements `io::Write` for `$name` through the methods of `$writer`.
macro_rules! io_write {
    ($writer:ident, $name:ty) => {
        /// One call is one record, so a document that is written in several calls becomes several
        /// records. Let it be written inside `record`, whose argument is an [`io::Write`] too.
        /// `Full` becomes `WouldBlock`, `TooLarge` becomes `InvalidInput`,
        /// and `Closed` becomes `BrokenPipe`. The error holds the
        /// [`WriteError`](crate::WriteError).
        impl Write for $name {
            #[inline]
            fn write(&mut self, record: &[u8]) -> io::Result<usize> {
                $writer::write(self, record)?;
                Ok(record.len())
            }

            fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
                $writer::record(self, |record| join(record, parts))?;
                Ok(parts.iter().map(|part| part.len()).sum())
            }

            fn write_fmt(&mut self, args: Arguments<'_>) -> io::Result<()> {
                match args.as_str() {
                    Some(text) => $writer::write(self, text.as_bytes())?,
                    None => $writer::record(self, |record| record.write_fmt(args))?,
                }
                Ok(())
            }

            /// Does nothing: this type keeps no bytes of its own and must not wait. The writer's
            /// [`flush`](BufferedWriter::flush) waits until records are visible.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    };
}

io_write!(BufferedWriter, BufferedWriter);
io_write!(BufferedWriter, &BufferedWriter);
io_write!(Producer, Producer);

fn join(record: &mut RecordWriter<'_>, parts: &[IoSlice<'_>]) -> fmt::Result {
    parts.iter().try_for_each(|part| record.write_bytes(part))
}
