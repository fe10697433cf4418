//! Promise: as `io::Write`, one call is one record, also `write_vectored` and `write!`; errors have
//! the kind that callers of `io::Write` know, and the cause inside.

use std::fmt;
use std::io::{ErrorKind, IoSlice, Write};

use bufferedwriter::{BufferedWriter, WriteError};

use crate::support::{BOUND, WriterDir, close, stats};

/// As a user would: generic over `Write`.
fn three_records(mut w: impl Write) {
    w.write_all(b"all\n").unwrap();
    assert_eq!(w.write(b"").unwrap(), 0);
    let parts = ["a ", "", "vectored ", "record\n"].map(|part| IoSlice::new(part.as_bytes()));
    assert_eq!(w.write_vectored(&parts).unwrap(), 18);
    writeln!(w, "{}+{}={:>3}", 1, 2, 3).unwrap();
    writeln!(w, "literal").unwrap();
    w.flush().unwrap();
}

#[test]
fn one_call_is_one_record() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).workers(1)).unwrap();
    three_records(&writer);
    writer.flush(BOUND).unwrap();
    three_records(writer.clone());
    writer.flush(BOUND).unwrap();
    three_records(writer.producer());
    assert_eq!(close(&writer).accepted.records, 3 * 4);
    let expected = "all\na vectored record\n1+2=  3\nliteral\n";
    assert_eq!(dir.contents(), [expected.as_bytes(); 3]);
}

/// As serializers do.
fn document(mut w: impl Write) -> std::io::Result<()> {
    ["{", "\"a\":", "1", "}\n"].iter().try_for_each(|part| w.write_all(part.as_bytes()))
}

/// What is written in several calls is one record only within `record`.
#[test]
fn a_document_in_several_calls_is_one_record_within_record() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().workers(1)).unwrap();
    document(&writer).unwrap();
    assert_eq!(stats(&writer).accepted.records, 4);
    writer.record(|record| document(record).map_err(|_| fmt::Error)).unwrap();
    let mut own = writer.producer();
    own.record(|record| document(record).map_err(|_| fmt::Error)).unwrap();
    assert_eq!(close(&writer).accepted.records, 6);
}

#[test]
fn a_flush_waits_for_nothing() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().workers(1)).unwrap();
    (&writer).write_all(b"in memory").unwrap();
    Write::flush(&mut &writer).unwrap();
    assert_eq!(stats(&writer).pending.records, 1);
    close(&writer);
}

#[test]
fn errors_have_the_usual_kinds() {
    struct Fails;
    impl fmt::Display for Fails {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).queue_size(1).workers(1)).unwrap();
    let mut own = writer.producer();
    let expect = |result: std::io::Result<()>, kind: ErrorKind, cause: WriteError| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind);
        let inner = error.into_inner().expect("the cause").downcast::<WriteError>().unwrap();
        assert_eq!(*inner, cause);
    };
    expect(own.write_all(&[0; 129]), ErrorKind::InvalidInput, WriteError::TooLarge);
    expect(write!(own, "{:>200}", 1), ErrorKind::InvalidInput, WriteError::TooLarge);
    expect(write!(own, "begin {Fails}"), ErrorKind::Other, WriteError::Format);
    own.write_all(b"holds a chunk").unwrap();
    expect((&writer).write_all(&[0; 100]), ErrorKind::WouldBlock, WriteError::Full);
    close(&writer);
    expect((&writer).write_all(b"late"), ErrorKind::BrokenPipe, WriteError::Closed);
    expect(write!(&writer, "{}", 1), ErrorKind::BrokenPipe, WriteError::Closed);
    assert_eq!(dir.contents(), [b"holds a chunk"]);
}
