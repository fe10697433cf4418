//! Promise: with `file_size(0)` all is as in the Go original: a file for every flushed buffer. A record that fills
//! the buffer exactly stays in memory until the next one. One that does not fit flushes what is there into a file
//! of its own.

use bufferedwriter::BufferedWriter;

use crate::support::{BOUND, WriterDir, close, stats, until};

fn until_files(writer: &BufferedWriter, files: u64) {
    until("a file", || stats(writer).files >= files);
    assert_eq!(stats(writer).files, files);
}

#[test]
fn a_full_buffer_stays_until_the_next_record() {
    let dir = WriterDir::new();
    let config = dir.config().size(16).queue_size(8).workers(1).file_size(0);
    let writer = BufferedWriter::new(config).unwrap();
    let mut own = writer.producer();
    own.write(b"0123456789abcde\n").unwrap();
    // The same worker publishes what another producer's buffer gave up: it has had its chance.
    let mut other = writer.producer();
    other.write(b"other 789abcde\n").unwrap();
    other.write(b"x\n").unwrap();
    until_files(&writer, 1);
    assert_eq!(dir.contents(), [b"other 789abcde\n"]);

    // One that does not fit: what is there becomes a file of its own.
    own.write(b"next\n").unwrap();
    until_files(&writer, 2);
    assert_eq!(dir.contents()[1], b"0123456789abcde\n");
    own.write(b"fits\n").unwrap();
    own.write(b"does not\n").unwrap();
    until_files(&writer, 3);
    assert_eq!(dir.contents()[2], b"next\nfits\n");

    // A forced flush makes the rest visible.
    writer.flush(BOUND).unwrap();
    let mut rest = dir.contents().split_off(3);
    rest.sort();
    assert_eq!(rest, [&b"does not\n"[..], b"x\n"]);
    drop((own, other));
    assert_eq!(close(&writer).files, 5);
    dir.assert_clean();
}

#[test]
fn through_the_thread_s_buffer_too() {
    let dir = WriterDir::new();
    let config = dir.config().size(4).queue_size(8).workers(1).file_size(0);
    let writer = BufferedWriter::new(config).unwrap();
    for (i, text) in [b"abc\n", b"def\n", b"ghi\n"].into_iter().enumerate() {
        writer.write(text).unwrap();
        until_files(&writer, i as u64);
    }
    assert_eq!(dir.contents(), [b"abc\n", b"def\n"]);
    // Larger than a buffer: it follows what was there, and is a file of its own.
    writer.write(b"a large one\n").unwrap();
    until_files(&writer, 4);
    assert_eq!(dir.contents()[2..], [&b"ghi\n"[..], b"a large one\n"]);
    close(&writer);
    dir.assert_clean();
}

#[test]
fn buffers_of_one_byte() {
    let dir = WriterDir::new();
    let config = dir.config().size(1).queue_size(4).workers(1).file_size(0);
    let writer = BufferedWriter::new(config).unwrap();
    for (i, byte) in b"abcdefgh".iter().enumerate() {
        writer.write_timeout(&[*byte], BOUND).unwrap();
        until_files(&writer, i as u64);
    }
    assert_eq!(dir.contents().concat(), b"abcdefg");
    assert_eq!(close(&writer).files, 8);
    assert_eq!(dir.contents().concat(), b"abcdefgh");
    dir.assert_clean();
}
