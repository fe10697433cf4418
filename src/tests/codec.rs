//! A codec that makes two bytes of each: shows that nothing takes bytes of a file for bytes of records.
//!
//! The property test, the fault loops, the simulator and the crash tests write with it too.

use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::Duration;

use bufferedwriter_testkit::dir::{TestDir, list};
use bufferedwriter_testkit::wait::BOUND;

use crate::codec::{self, Decoder, Edge, Encoder, Trailer};
use crate::config::{Compression, Config, Envelope, Io};
use crate::file::state_file::encode;
use crate::file::state_file::format::{FileLayout, Header, WorkerEntry};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::memory::crash_image::{Layout, WorkerWord};
use crate::recovery::scan::Scan;
use crate::report::recovery::Recovery;
use crate::report::stats::Count;
use crate::tests::forks;
use crate::tests::recovery::images::{self, Image};
use crate::writer::BufferedWriter;

/// Doubles each byte. A pair that is none ends a file, with the footer as it is behind it.
#[derive(Default)]
pub(crate) struct Doubling {
    checksum: u32,
}

const END: [u8; 2] = *b".!";

/// Ends a file with a footer of at most 255 bytes.
pub(crate) fn trailer(footer: &[u8]) -> Trailer<'_> {
    let len = u8::try_from(footer.len()).expect("a short footer");
    Trailer::new(Edge::of(&[&END, &[len]]), footer, Edge::default())
}

impl Encoder for Doubling {
    fn encode(&mut self, contents: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<()> {
        for slice in contents {
            self.checksum = summed(self.checksum, slice);
            out.extend(slice.iter().flat_map(|&byte| [byte; 2]));
        }
        Ok(())
    }

    fn checksum(&self, footer: &[u8]) -> u32 {
        summed(self.checksum, footer)
    }
}

fn summed(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte))
}

/// Undoes [`Doubling`].
#[derive(Default)]
pub(crate) struct Halving {
    bytes: Vec<u8>,
    checksum: u32,
}

impl Decoder for Halving {
    fn decode(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        self.bytes.extend_from_slice(bytes);
        let is_pair = |pair: &[u8]| pair[0] == pair[1];
        let pairs = self.bytes.chunks_exact(2).take_while(|pair| is_pair(pair)).count();
        let mut contents: Vec<_> = self.bytes.drain(..2 * pairs).step_by(2).collect();
        let ends = match &*self.bytes {
            [] | [_] => false,
            [one, other] if [*one, *other] == END => false,
            [one, other, len, footer @ ..]
                if [*one, *other] == END && footer.len() <= usize::from(*len) =>
            {
                contents.extend_from_slice(if footer.len() == usize::from(*len) {
                    footer
                } else {
                    &[]
                });
                footer.len() == usize::from(*len)
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        self.checksum = summed(self.checksum, &contents);
        out(&contents);
        Ok(ends)
    }

    fn checksum(&self) -> u32 {
        self.checksum
    }
}

/// A header and a footer, or none.
pub(crate) fn envelope(is_set: bool) -> Arc<Envelope> {
    let text = |text: &str| if is_set { text.as_bytes().to_vec() } else { Vec::new() };
    Envelope { header: text("the header\n"), footer: text("the footer\n") }.into()
}

/// These records as a file has them, before encoding.
pub(crate) fn enclosed(envelope: &Envelope, records: &[u8]) -> Vec<u8> {
    [&envelope.header, records, &envelope.footer].concat()
}

/// What random tests choose from.
pub(crate) const CODECS: [Compression; 3] =
    [Compression::Doubled, Compression::Gzip(1), Compression::Zstd(1)];

/// What stands in a file. Panics if it is not whole.
pub(crate) fn decode(compression: Compression, file: Vec<u8>) -> Vec<u8> {
    whole(compression, &file, true)
}

/// The records between header and footer of a file. Panics if it is not whole.
pub(crate) fn records(compression: Compression, envelope: &Envelope, file: Vec<u8>) -> Vec<u8> {
    let contents = decode(compression, file);
    let records = contents.strip_prefix(&*envelope.header);
    let records = records.and_then(|rest| rest.strip_suffix(&*envelope.footer));
    let text = String::from_utf8_lossy(&contents);
    records.unwrap_or_else(|| panic!("without header or footer: {text}")).to_vec()
}

/// The records in a file that was not ended, up to the last flush.
pub(crate) fn records_start(compression: Compression, header: &[u8], file: Vec<u8>) -> Vec<u8> {
    let contents = whole(compression, &file, false);
    contents.strip_prefix(header).unwrap_or_default().to_vec()
}

fn whole(compression: Compression, file: &[u8], must_end: bool) -> Vec<u8> {
    let Some(mut decoder) = codec::decoder(compression).unwrap() else { return file.to_vec() };
    let mut contents = Vec::new();
    let ends = decoder.decode(file, &mut |bytes| contents.extend_from_slice(bytes));
    if must_end {
        assert!(matches!(ends, Ok(true)), "{ends:?}: {file:?}");
    }
    contents
}

/// A writer in directories of its own.
struct Rig {
    dir: TestDir,
    config: Config,
}

impl Rig {
    fn new() -> Self {
        let dir = TestDir::new();
        let (path, temp) = (dir.dir("path"), dir.dir("temp"));
        let config =
            Config::default().path(path).temp(temp).compression(Compression::Doubled).workers(1);
        Rig { dir, config }
    }

    /// Lengths and records of the visible files.
    fn visible(&self) -> Vec<(usize, Vec<u8>)> {
        let read = |name| std::fs::read(self.dir.join("path").join(name)).unwrap();
        let files = list(&self.dir.join("path")).into_iter().map(read);
        files.map(|file| (file.len(), decode(Compression::Doubled, file))).collect()
    }
}

#[test]
fn accounts_tell_records_and_what_is_on_the_disk() {
    let rig = Rig::new();
    let writer =
        BufferedWriter::new(rig.config.clone().file_size(200).file_age(Duration::ZERO)).unwrap();
    for _ in 0..10 {
        writer.write(b"0123456789").unwrap();
        writer.flush(BOUND).unwrap();
    }
    let stats = writer.stats();
    assert_eq!((stats.written, stats.files_bytes), (Count::new(10, 100), 230));
    let report = writer.close(BOUND).unwrap();
    assert_eq!((report.written, report.files, report.files_bytes), (Count::new(10, 100), 10, 230));
    assert!(rig.visible().iter().all(|(len, records)| *len == 23 && records == b"0123456789"));
}

#[test]
fn a_file_has_its_size_on_the_disk() {
    let rig = Rig::new();
    let config =
        rig.config.clone().size(10).queue_size(100).file_size(200).file_age(Duration::ZERO);
    let writer = BufferedWriter::new(config.io(Io::Buffered)).unwrap();
    for _ in 0..100 {
        while writer.write(b"0123456789").is_err() {}
    }
    writer.close(BOUND).unwrap();
    let files = rig.visible();
    assert_eq!(files.iter().map(|file| file.1.len()).sum::<usize>(), 1000);
    // A write takes as many pieces as there are when it begins: a file may be larger, none but the last is smaller.
    assert!(files[..files.len() - 1].iter().all(|(len, _)| *len >= 200), "{files:?}");
}

#[test]
fn the_quota_counts_what_is_on_the_disk() {
    let rig = Rig::new();
    let writer = BufferedWriter::new(rig.config.clone().max_total(1 << 30)).unwrap();
    writer.write(&[b'x'; 10_000]).unwrap();
    writer.flush(BOUND).unwrap();
    assert_eq!(writer.stats().disk_guard.unwrap().total_bytes, Some(20_003));
    writer.close(BOUND).unwrap();
}

/// Of a temp file, and of memory that outlived its process: records and bytes of the file are told apart.
#[test]
fn a_recovery_tells_records_and_what_is_on_the_disk() {
    let rig = Rig::new();
    let (path, temp, memory) = (rig.dir.join("path"), rig.dir.join("temp"), rig.dir.dir("memory"));
    let (names, codec) = (images::names(), Compression::Doubled.id());
    let boot = RealFs.boot_id().unwrap_or_default();
    let header = Header {
        path: path.clone(),
        memory: Some(images::memory_dir(&memory)),
        names: names.clone(),
        codec,
        layout: FileLayout::default(),
        workers: images::LAYOUT.workers,
        slot_bytes: 0,
    };
    let mut state = encode::header(boot, &header).unwrap();
    (0..header.workers).for_each(|_| state.extend(encode::entry(1, WorkerEntry::default())));
    std::fs::write(temp.join(names.state()), state).unwrap();
    // A record of three bytes is in the temp file, and half of another one; three records are in a chunk.
    std::fs::write(temp.join(names.temp(images::STAMP, 0, 1)), "aabbccdde").unwrap();
    let mut image = Image::of(Layout { codec, ..images::LAYOUT });
    image.chunk(0, 1, 1, 30, 0);
    for (word, number) in [
        (WorkerWord::Stamp, images::STAMP.0),
        (WorkerWord::Seq, 1),
        (WorkerWord::GoodLen, 6),
        (WorkerWord::GoodRecords, 1),
        (WorkerWord::GoodBytes, 3),
        (WorkerWord::GoodChecksum, summed(0, b"abc").into()),
    ] {
        image.put(images::LAYOUT.worker_word_at(0, word), number);
    }
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).to_owned();
    let file = options.open(memory.join(names.memory())).unwrap();
    file.write_all_at(&image.0, 0).unwrap();
    drop(file);

    let scan = Scan {
        fs: &RealFs,
        path: &path,
        temp: &temp,
        from: None,
        prefix: None,
        memory: std::slice::from_ref(&memory),
        without_memory: false,
        dry_run: false,
    };
    let mut recovery = Recovery::default();
    forks::recover(scan, None, &mut recovery).unwrap();
    assert!(recovery.errors.is_empty() && recovery.set_aside.is_empty(), "{recovery:?}");
    assert_eq!(recovery.records, Count::new(1 + 3, 3 + 30), "{recovery:?}");
    assert_eq!((recovery.bytes, recovery.cut_bytes), (9 + 63, 3));
    let chunk = image.0[images::BYTES..][..30].to_vec();
    assert_eq!(rig.visible(), [(9, b"abc".to_vec()), (63, chunk)]);
}
