//! Header and footer of a file: each once, whatever fails, and never counted as records.

use std::ffi::OsString;
use std::io::IoSlice;

use crate::base::sys::Errno;
use bufferedwriter_testkit::dir::TestDir;

use crate::config::{Compression, Envelope, Files};
use crate::file::aligned::{PAGE, Staging};
use crate::file::temp_file::TempFile;
use crate::naming::{Names, Stamp, TempId};
use crate::report::error::Error;
use crate::report::stats::Count;
use crate::tests::codec::{CODECS, decode, enclosed};
use crate::tests::fs::WRITES_SLICES;
use crate::tests::fs::faulty::{Answer, Faulty, Op};

struct Rig {
    fs: Faulty,
    dir: TestDir,
    files: Files,
    staging: Staging,
}

impl Rig {
    fn new(compression: Compression, header: usize, footer: usize) -> Self {
        let envelope = Envelope { header: vec![b'h'; header], footer: vec![b'f'; footer] }.into();
        let files = Files { compression, envelope, ..Files::default() };
        Rig { fs: Faulty::default(), dir: TestDir::new(), files, staging: Staging::none() }
    }

    fn names() -> Names {
        Names { prefix: OsString::new(), extension: "log".into(), instance: 7, pid: 1 }
    }

    fn file(&self) -> TempFile {
        TempFile::create(&self.fs, self.dir.path(), &self.files, &Self::names(), 0, TempId::any())
            .unwrap()
    }

    /// Appends a record and commits the bytes of it that count.
    fn append(&mut self, file: &mut TempFile, record: &[u8]) -> (u64, Result<(), Error>) {
        let (appended, result) = file.append(&mut [IoSlice::new(record)], &mut self.staging);
        file.commit(Count::new(1, appended.record_bytes));
        (appended.record_bytes, result)
    }

    /// Checks that the file is whole and has these records.
    fn check(&self, file: &TempFile, records: &[u8]) {
        let read = std::fs::read(file.path()).unwrap();
        assert_eq!(file.whole().len, read.len() as u64);
        assert_eq!(file.good().count.bytes, records.len() as u64);
        let contents = decode(self.files.compression, read);
        assert!(contents == enclosed(&self.files.envelope, records), "{}", contents.len());
    }
}

#[test]
fn a_file_that_was_never_written_has_no_header() {
    let mut rig = Rig::new(Compression::None, 9, 9);
    let mut file = rig.file();
    rig.fs.plan(Op::Write, 1, Answer::Error(Errno::NOSPC));
    assert_eq!(rig.append(&mut file, b"record").0, 0);
    assert_eq!(file.good(), Default::default());
    rig.append(&mut file, b"record").1.unwrap();
    file.seal().unwrap();
    rig.check(&file, b"record");

    let mut rig = Rig::new(Compression::None, 9, 9);
    let mut file = rig.file();
    rig.append(&mut file, b"record").1.unwrap();
    rig.append(&mut file, b"record").1.unwrap();
    assert_eq!(file.good().len, 9 + 12);
    file.seal().unwrap();
    assert_eq!(rig.fs.calls(Op::SetLen), 0, "each write ends where the file does");
    if WRITES_SLICES {
        assert_eq!(rig.fs.calls(Op::Write), 2, "no write for the header or the footer alone");
    }
    rig.check(&file, b"recordrecord");
}

/// Wherever the disk is full, what counts leaves room for the footer.
#[test]
fn a_disk_that_fills_up_has_room_for_the_footer() {
    for (header, footer) in [(9, 7), (0, 7), (9, 0)] {
        for short in 0..header + footer + 20 {
            let mut rig = Rig::new(Compression::None, header, footer);
            let mut file = rig.file();
            if short > 0 {
                rig.fs.plan(Op::Write, 1, Answer::Short(short));
            }
            rig.fs.plan(Op::Write, 1 + usize::from(short > 0), Answer::Error(Errno::NOSPC));
            let record = [b'r'; 20];
            let (count, result) = rig.append(&mut file, &record);
            assert_eq!(result.unwrap_err().operation(), "write");
            assert_eq!(count, short.saturating_sub(header + footer) as u64);
            if count > 0 {
                assert!(file.whole().len <= short as u64, "more than there is room for");
                file.seal().unwrap();
                rig.check(&file, &record[..count as usize]);
            }
            rig.append(&mut file, b"more").1.unwrap();
            file.seal().unwrap();
            rig.check(&file, &[&record[..count as usize], b"more"].concat());
        }
    }
}

/// The end of the torn record is cut only when the footer stands: until then it keeps the room.
#[test]
fn a_sync_writes_the_footer_before_it_cuts_what_is_torn() {
    let mut rig = Rig::new(Compression::None, 0, 4);
    let mut file = rig.file();
    rig.fs.plan(Op::Write, 1, Answer::Short(10));
    rig.fs.plan(Op::Write, 2, Answer::Error(Errno::NOSPC));
    rig.append(&mut file, &[b'r'; 20]).1.unwrap_err();
    rig.fs.plan(Op::SetLen, 1, Answer::Error(Errno::IO));
    file.sync().unwrap_err();
    assert_eq!(std::fs::read(file.path()).unwrap(), b"rrrrrrffff");
    file.sync().unwrap();
    assert!(file.is_synced());
    file.seal().unwrap();
    assert!(file.is_synced(), "one fsync covers the footer too");
    rig.check(&file, b"rrrrrr");
}

#[test]
fn files_past_the_page_cache_have_both() {
    for compression in CODECS.into_iter().chain([Compression::None]) {
        for (header, footer) in [(1, 1), (100, 255), (4096, 0), (4000, 200), (0, 255)] {
            let mut rig = Rig::new(compression, header, footer);
            rig.staging = Staging::for_workers(1, 2 * PAGE).unwrap().remove(0);
            let mut file = rig.file();
            file.go_direct();
            assert!(file.is_direct());
            let mut all = Vec::new();
            for len in [1, 5000, 2 * PAGE, 30_000, 4097 - header, 77] {
                let record = vec![len as u8; len];
                rig.append(&mut file, &record).1.unwrap();
                all.extend(record);
                file.seal().unwrap();
                rig.check(&file, &all);
            }
            assert!(file.is_direct());
        }
    }
}

#[test]
fn a_copy_has_both_once() {
    for compression in CODECS.into_iter().chain([Compression::None]) {
        let mut rig = Rig::new(compression, 30, 20);
        let mut file = rig.file();
        rig.append(&mut file, b"one ").1.unwrap();
        file.seal().unwrap();
        let to = TestDir::new();
        let mut copy =
            file.copy_to(&rig.fs, to.path(), &rig.files, &Rig::names(), 0, Stamp(2)).unwrap();
        copy.seal().unwrap();
        file.hand_over(&mut copy);
        rig.check(&copy, b"one ");
        rig.append(&mut copy, b"two ").1.unwrap();
        copy.seal().unwrap();
        rig.check(&copy, b"one two ");
    }
}
