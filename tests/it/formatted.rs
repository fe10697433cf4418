//! Promise: `record` formats in place. Nothing is kept of a record that fails, whatever its size. A formatter that
//! writes to the same writer is served. Nobody waits for foreign code.

use std::fmt;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, RecordWriter, WriteError};

use crate::support::{BOUND, Drops, Random, Tally, WriterDir, close, record, stats, until};

/// Formats bytes in parts of random lengths.
fn in_parts(w: &mut RecordWriter<'_>, bytes: &[u8], random: &mut Random) -> fmt::Result {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, left) = rest.split_at(random.within(0, rest.len().min(90)));
        match random.within(0, 2) {
            0 => w.write_all(part).map_err(|_| fmt::Error)?,
            1 => w.write_str(std::str::from_utf8(part).unwrap())?,
            _ => write!(w, "{}", std::str::from_utf8(part).unwrap())?,
        }
        rest = left;
    }
    Ok(())
}

#[test]
fn of_any_size_in_order_between_writes() {
    let dir = WriterDir::new();
    let config = dir.config().size(100).queue_size(30).workers(1).file_size(5000);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut random, mut buffer, mut own) = (Random::new(5), Vec::new(), writer.producer());
    for seq in 0..3000 {
        record(&mut buffer, 1, seq, random.within(1, 60) * random.within(1, 6));
        until("memory", || {
            let result = match random.within(0, 3) {
                0 => own.write(&buffer),
                _ => own.record(|w| in_parts(w, &buffer, &mut random)),
            };
            result != Err(WriteError::Full)
        });
    }
    drop(own);
    assert_eq!(close(&writer).accepted.records, 3000);
    let mut tally = Tally::across_files();
    tally.look(&dir);
    tally.assert_ranges(&[(1, 3000)]);
    dir.assert_clean();
}

#[test]
fn what_fails_leaves_nothing() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).queue_size(7).workers(1)).unwrap();
    let mut expected = Vec::new();
    for len in [0, 1, 30, 64, 65, 200, 400] {
        let text = "x".repeat(len);
        writer.record(|w| write!(w, "<{len}>")).unwrap();
        expected.extend_from_slice(format!("<{len}>").as_bytes());
        let before = stats(&writer);
        let failed = writer.record(|w| {
            w.write_str(&text)?;
            Err(fmt::Error)
        });
        assert_eq!(failed, Err(WriteError::Format));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            writer.record(|w| {
                let _ = write!(w, "{text}{}", 1);
                resume_unwind(Box::new("formatter"))
            })
        }));
        assert!(panicked.is_err());
        let now = stats(&writer);
        assert_eq!(now.accepted, before.accepted);
        // It may have been moved to a chunk of its own, which is the next record's then.
        assert!(now.memory_bytes <= before.memory_bytes + 64, "{now:?}");
        let refused = now.refused.format;
        assert_eq!(refused.records - before.refused.format.records, 2);
        assert_eq!(refused.bytes - before.refused.format.bytes, 2 * len as u64 + 1);
        writer.record(|w| w.write_str(&text)).unwrap();
        expected.extend_from_slice(text.as_bytes());
        writer.flush(BOUND).unwrap();
    }
    // What the writer refused stays refused, though the formatter looks away.
    for len in [9 * 64, 10_000] {
        let result = writer.record(|w| {
            let _ = w.write_str("begin");
            for _ in 0..len {
                let _ = w.write_str("y");
            }
            let _ = w.write_str("end");
            Ok(())
        });
        assert_eq!(result, Err(WriteError::TooLarge));
    }
    close(&writer);
    assert_eq!(dir.contents().concat(), expected);
}

/// Also what would still fit the chunk, which may be another producer's by then.
#[test]
fn after_a_refusal_everything_else_is_refused() {
    let dir = WriterDir::new();
    let one_chunk = dir.config().size(64).queue_size(0).workers(1);
    let writer = BufferedWriter::new(one_chunk).unwrap();
    writer.write(&[b'a'; 20]).unwrap();
    for (grown, cause) in
        [(vec![b'!'; 50], WriteError::Full), (vec![b'!'; 1000], WriteError::TooLarge)]
    {
        let before = stats(&writer).refused.total();
        let result = writer.record(|w| {
            w.write_str("begin")?;
            assert!(w.write_bytes(&grown).is_err());
            for _ in 0..3 {
                assert!(w.write_str("x").is_err() && w.write_all(b"y").is_err());
                assert!(write!(w, "{}", before.records).is_err());
            }
            Ok(())
        });
        assert_eq!(result, Err(cause));
        let refused = stats(&writer).refused.total();
        assert_eq!((refused.records - before.records, refused.bytes - before.bytes), (1, 5));
        // The chunk went to the worker when there was no other one for the record.
        writer.write_timeout(&[b'b'; 20], BOUND).unwrap();
    }
    close(&writer);
    assert_eq!(dir.contents().concat(), [[b'a'; 20], [b'b'; 20], [b'b'; 20]].concat());
}

#[test]
fn without_memory_and_after_close_the_formatter_is_not_called() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).queue_size(1).workers(1)).unwrap();
    let (mut first, mut second, mut third) =
        (writer.producer(), writer.producer(), writer.producer());
    first.write(b"holds a chunk").unwrap();
    second
        .record(|w| {
            w.write_str("holds the other")?;
            let result = third.record(|_| unreachable!("there is no chunk"));
            assert_eq!(result, Err(WriteError::Full));
            // A chunk in which a record is being formatted is nobody else's, however long it takes.
            let result = third.write_timeout(b"third", Duration::from_millis(100));
            assert!(matches!(result, Ok(()) | Err(WriteError::Full)), "{result:?}");
            w.write_str(" all the time\n")
        })
        .unwrap();
    // It grows beyond what there is.
    let grown = second.record(|w| {
        w.write_str(&"z".repeat(65))?;
        unreachable!("there is no memory")
    });
    assert_eq!(grown, Err(WriteError::Full));
    drop((first, second, third));
    close(&writer);
    let result = writer.record(|_| unreachable!("it is closed"));
    assert_eq!(result, Err(WriteError::Closed));
    let all = String::from_utf8(dir.contents().concat()).unwrap();
    assert!(all.contains("holds the other all the time\n"), "{all}");
}

/// Writes to the writer that it is formatted for.
struct Nested<'a>(&'a BufferedWriter, &'static Drops, u32);

impl fmt::Display for Nested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Nested(writer, drops, depth) = *self;
        f.write_str("(")?;
        if depth > 0 {
            writer.write(format!("[write {depth}]").as_bytes()).unwrap();
            writer.write_timeout(b"[timeout]", BOUND).unwrap();
            writer.send(drops.message(b"[a message that is handed over]")).unwrap();
            writer.record(|w| write!(w, "[{}]", Nested(writer, drops, depth - 1))).unwrap();
            let failed = writer.record(|w| {
                write!(w, "never")?;
                writer.write(b"[by one that fails]").unwrap();
                Err(fmt::Error)
            });
            assert_eq!(failed, Err(WriteError::Format));
        }
        f.write_str(")")
    }
}

#[test]
fn a_formatter_that_writes_to_the_same_writer() {
    let dir = WriterDir::new();
    let config = dir.config().size(80).queue_size(40).workers(2);
    let writer = BufferedWriter::new(config).unwrap();
    let drops = Drops::leaked();
    for _ in 0..10 {
        writer.record(|w| write!(w, "[{}]", Nested(&writer, drops, 3))).unwrap();
        writer.write(b"[plain]").unwrap();
        writer.flush(BOUND).unwrap();
    }
    // One to four deep, and four for each of three levels beside.
    assert_eq!(close(&writer).accepted.records, 10 * (4 + 3 * 4 + 1));
    let all = String::from_utf8(dir.contents().concat()).unwrap();
    for (part, times) in [
        ("[()]", 40),
        ("[write 3]", 10),
        ("[write 1]", 10),
        ("[timeout]", 30),
        ("[a message that is handed over]", 30),
        ("[by one that fails]", 30),
        ("[plain]", 10),
        ("never", 0),
    ] {
        assert_eq!(all.matches(part).count(), times, "{part} in {all}");
    }
    assert_eq!(drops.dropped(), 30);
}

#[test]
fn a_close_does_not_wait_for_a_formatter() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).queue_size(20).workers(1)).unwrap();
    writer.write(b"before\n").unwrap();
    let result = writer.record(|w| {
        w.write_str("never\n")?;
        close(&writer);
        // Within the chunk nobody asks; beyond it somebody does.
        w.write_str("never\n")?;
        assert!(w.write_str(&"never".repeat(20)).is_err());
        Ok(())
    });
    assert_eq!(result, Err(WriteError::Closed));
    let result = writer.record(|_| unreachable!("it is closed"));
    assert_eq!(result, Err(WriteError::Closed));
    assert_eq!(dir.contents(), [b"before\n"]);
    assert_eq!(stats(&writer).refused.closed.records, 2);
}

#[test]
fn many_threads_few_chunks() {
    let dir = WriterDir::new();
    let config = dir.config().size(300).queue_size(4).workers(2).file_size(50_000);
    let writer = BufferedWriter::new(config).unwrap();
    thread::scope(|scope| {
        for producer in 0..16_u32 {
            let writer = &writer;
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                for seq in 0..100 {
                    record(&mut buffer, producer, seq, random.within(20, 200));
                    until("memory", || {
                        let result = writer.record(|w| {
                            in_parts(w, &buffer, &mut random)?;
                            // Others run, and want the chunk.
                            thread::yield_now();
                            Ok(())
                        });
                        result != Err(WriteError::Full)
                    });
                }
            });
        }
    });
    close(&writer);
    Tally::of(&dir).assert_ranges(&(0..16).map(|p| (p, 100)).collect::<Vec<_>>());
    dir.assert_clean();
}
