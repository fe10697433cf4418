//! How a temp file is synced, cut to its whole records, and ended so that it can be renamed.

use crate::codec::{self, Encoding, Trailer};
use crate::config::{Compression, Envelope};
use crate::file::temp_file::{TempFile, contents};
use crate::fs::write_all;
use crate::report::error::Error;
use crate::report::stats::Watermark;

impl TempFile {
    /// Forgets records that are encoded but not committed: they are lost.
    pub(crate) fn drop_uncommitted(&mut self) {
        self.encoding.as_mut().map(Encoding::forget);
    }

    /// Drops the records that no fsync covers: they will be overwritten or cut off.
    pub(crate) fn drop_unsynced(&mut self) {
        if self.good != self.synced {
            self.encoding.as_mut().map(Encoding::roll_back);
        }
        (self.good, self.is_sealed) = (self.synced, false);
    }

    /// After a failed fsync: cuts the file to the part that was synced before. The worker still has
    /// to write the rest, to another file.
    pub(crate) fn roll_back_to_synced(&mut self) -> Result<(), Error> {
        if self.good != self.synced || !self.is_sealed {
            self.set_len(self.synced.len)?;
            self.drop_unsynced();
        }
        Ok(())
    }

    /// Syncs the whole records to the disk, after it cut off anything beyond them. Once an fsync
    /// has failed, this returns the same error without another try.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        // The end of records that a failed write left has taken room on the disk for the trailer.
        if self.good.len > 0 && !self.is_sealed && self.trailer().len() > 0 {
            self.is_sealed = self.write_trailer().is_ok();
        }
        self.cut()?;
        if let Err(error) = self.file.sync() {
            let error = Error::io("fsync", &self.path, error);
            self.failed = Some(error.clone());
            // The trailer may be gone too.
            self.is_sealed = false;
            return Err(error);
        }
        (self.synced, self.synced_end) = (self.good, Some(self.end()));
        Ok(())
    }

    /// Makes the file whole, and exactly as long as it must be, so that it can be renamed. More can
    /// be appended all the same. After a failed fsync it must have been rolled back.
    pub(crate) fn seal(&mut self) -> Result<(), Error> {
        if let Some(error) = self.failed.as_ref().filter(|_| self.good != self.synced) {
            return Err(error.clone());
        }
        // The room on the disk that a failed write has taken is for the trailer.
        if !self.is_sealed && self.trailer().len() > 0 {
            self.write_trailer()?;
        }
        self.is_sealed = true;
        self.cut()
    }

    fn write_trailer(&mut self) -> Result<(), Error> {
        self.synced_end = None;
        let end_max = std::mem::replace(&mut self.end_max, u64::MAX);
        // It fills no block.
        let result = match &mut self.direct {
            Some(direct) => direct.go(&mut *self.file, false),
            None => Ok(()),
        };
        let envelope = self.envelope.clone();
        let trailer = trailer(self.compression, &envelope, self.good);
        result
            .and_then(|()| write_all(&mut *self.file, &mut trailer.slices(), self.good.len).1)
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.end_max = end_max.max(self.good.len + trailer.len());
        Ok(())
    }

    /// After a failed fsync and a roll-back: syncs what [`seal`](Self::seal) wrote. This fsync is
    /// no second try: all that it must cover was written after the first one failed.
    pub(crate) fn sync_trailer(&mut self) -> Result<(), Error> {
        if self.trailer().len() == 0 {
            return Ok(());
        }
        self.file.sync().map_err(|e| {
            // It is written once more before the next try.
            self.is_sealed = false;
            Error::io("fsync", &self.path, e)
        })
    }

    /// The whole file, as long as it will be when it is visible.
    pub(crate) fn whole(&self) -> Watermark {
        Watermark { len: self.good.len + self.trailer().len(), ..self.good }
    }

    /// What makes the file whole if it ends at its good length.
    fn trailer(&self) -> Trailer<'_> {
        trailer(self.compression, &self.envelope, self.good)
    }

    /// Whether the last fsync covers the file as it is: all records, and nothing behind them.
    pub(crate) fn is_synced(&self) -> bool {
        let end = self.end();
        self.synced == self.good && self.end_max == end && self.synced_end == Some(end)
    }

    /// Where the file ends.
    fn end(&self) -> u64 {
        if self.is_sealed { self.whole().len } else { self.good.len }
    }

    fn cut(&mut self) -> Result<(), Error> {
        if self.end_max > self.end() {
            self.set_len(self.end())?;
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(|e| Error::io("truncate", &self.path, e))?;
        self.end_max = len;
        Ok(())
    }
}

fn trailer(compression: Compression, envelope: &Envelope, good: Watermark) -> Trailer<'_> {
    codec::trailer(compression, &contents(envelope, good.count.bytes, good.checksum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::config::Files;
    use crate::file::aligned::Staging;
    use crate::naming::{Names, TempId};
    use crate::report::stats::Count;
    use crate::tests::codec::{CODECS, decode, enclosed, envelope};
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use std::ffi::OsString;
    use std::io::IoSlice;

    /// Files that end with a trailer.
    fn setups() -> impl Iterator<Item = Files> {
        let of = |compression, envelope| Files { compression, envelope, ..Files::default() };
        let all = CODECS.into_iter().chain([Compression::None]);
        let all = all.flat_map(move |codec| [false, true].map(|set| of(codec, envelope(set))));
        all.filter(|files| files.compression != Compression::None || !files.envelope.is_empty())
    }

    fn new(fs: &Faulty, dir: &TestDir, files: &Files) -> TempFile {
        let (prefix, extension) = (OsString::new(), OsString::from("log"));
        let names = Names { prefix, extension, instance: 7, pid: 1 };
        TempFile::create(fs, dir.path(), files, &names, 0, TempId::any()).unwrap()
    }

    /// Checks that the file is whole and has these records.
    fn check(file: &TempFile, records: &str) {
        let expected = enclosed(&file.envelope, records.as_bytes());
        assert_eq!(decode(file.compression, read(file)), expected);
        assert_eq!(file.whole().len, read(file).len() as u64);
        assert_eq!(file.good().count.bytes, records.len() as u64);
    }

    fn append(file: &mut TempFile, text: &str) -> Result<(), Error> {
        let mut slices = [IoSlice::new(text.as_bytes())];
        let (appended, result) = file.append(&mut slices, &mut Staging::none());
        if appended.record_bytes > 0 {
            file.commit(Count::new(1, appended.record_bytes));
        }
        result
    }

    fn read(file: &TempFile) -> Vec<u8> {
        std::fs::read(file.path()).unwrap()
    }

    #[test]
    fn a_sealed_file_grows_on_and_is_sealed_again() {
        for files in setups() {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir, &files);
            let mut expected = String::new();
            for text in ["one ", "two ", "a longer one ", "4"] {
                append(&mut file, text).unwrap();
                expected += text;
                // Its end is there without a further write, for which there may be no room.
                check(&file, &expected);
                for _ in 0..2 {
                    file.seal().unwrap();
                    check(&file, &expected);
                }
            }
        }
    }

    #[test]
    fn a_write_of_the_end_that_fails_is_tried_again() {
        for files in setups() {
            for fault in [Answer::Error(Errno::NOSPC), Answer::Short(0)] {
                let (fs, dir) = (Faulty::default(), TestDir::new());
                let mut file = new(&fs, &dir, &files);
                append(&mut file, "one ").unwrap();
                fs.plan(Op::Write, 1, Answer::Short(1));
                fs.plan(Op::Write, 2, fault);
                append(&mut file, "two ").unwrap_err();
                // What is encoded already is written.
                let is_plain = file.encoding.is_none();
                append(&mut file, if is_plain { "two " } else { "ignored " }).unwrap();
                file.seal().unwrap();
                check(&file, "one two ");
                // An end that was written over is written again.
                fs.plan(Op::Write, 1, fault);
                append(&mut file, "lost ").unwrap_err();
                file.drop_uncommitted();
                fs.plan(Op::Write, 1, Answer::Short(1));
                fs.plan(Op::Write, 2, fault);
                assert_eq!(file.seal().unwrap_err().operation(), "write");
                file.seal().unwrap();
                check(&file, "one two ");
            }
        }
    }

    /// The end counts as synced only if an fsync came after it, and is written again if that failed.
    #[test]
    fn a_failed_fsync_takes_the_end_with_it() {
        for files in setups() {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir, &files);
            append(&mut file, "one ").unwrap();
            assert!(!file.is_synced());
            file.sync().unwrap();
            assert!(file.is_synced());
            // Someone takes the end off.
            std::fs::File::options().write(true).open(file.path()).unwrap().set_len(1).unwrap();
            file.is_sealed = false;
            file.seal().unwrap();
            assert!(!file.is_synced());
            file.sync().unwrap();
            assert!(file.is_synced());
            append(&mut file, "two ").unwrap();
            fs.plan(Op::Sync, 1, Answer::Error(Errno::IO));
            file.sync().unwrap_err();
            assert!(file.is_closed() && file.seal().is_err());
            file.roll_back_to_synced().unwrap();
            let writes = fs.calls(Op::Write);
            file.seal().unwrap();
            assert!(fs.calls(Op::Write) > writes);
            fs.plan(Op::Sync, 1, Answer::Error(Errno::IO));
            file.sync_trailer().unwrap_err();
            file.seal().unwrap();
            file.sync_trailer().unwrap();
            assert!(read(&file).ends_with(&file.trailer().to_vec()));
        }
    }

    #[test]
    fn a_stream_that_lost_records_takes_no_more() {
        for files in setups().filter(|files| files.compression != Compression::None) {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir, &files);
            append(&mut file, "one ").unwrap();
            file.drop_uncommitted();
            assert!(!file.is_closed(), "nothing was lost");
            fs.plan(Op::Write, 1, Answer::Error(Errno::NOSPC));
            append(&mut file, "lost ").unwrap_err();
            file.drop_uncommitted();
            assert!(file.is_closed());
            file.seal().unwrap();
            check(&file, "one ");

            let mut file = new(&fs, &dir, &files);
            append(&mut file, "one ").unwrap();
            file.sync().unwrap();
            append(&mut file, "lost ").unwrap();
            file.drop_unsynced();
            assert!(file.is_closed());
            file.seal().unwrap();
            check(&file, "one ");
        }
    }
}
