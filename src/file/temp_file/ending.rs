//! How a temp file is synced, cut to its whole records, and ended so that it can be renamed.

use std::io::IoSlice;

use crate::codec::{self, Encoding, Trailer};
use crate::file::temp_file::TempFile;
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
        if let Some(error) = &self.failed
            && self.good != self.synced
        {
            return Err(error.clone());
        }
        self.cut()?;
        if !self.is_sealed && self.trailer().len() > 0 {
            self.write_trailer()?;
        }
        self.is_sealed = true;
        Ok(())
    }

    fn write_trailer(&mut self) -> Result<(), Error> {
        (self.end_max, self.synced_end) = (u64::MAX, None);
        // It fills no block.
        let result = match &mut self.direct {
            Some(direct) => direct.go(&mut *self.file, false),
            None => Ok(()),
        };
        let trailer = self.trailer();
        let mut bytes = [IoSlice::new(trailer.bytes())];
        result
            .and_then(|()| write_all(&mut *self.file, &mut bytes, self.good.len).1)
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.end_max = self.whole().len;
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
    fn trailer(&self) -> Trailer {
        codec::trailer(self.compression, self.good.checksum, self.good.count.bytes)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Compression, Files};
    use crate::file::aligned::Staging;
    use crate::naming::{Names, TempId};
    use crate::report::stats::Count;
    use crate::tests::codec::{CODECS, decode};
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use rustix::io::Errno;
    use std::ffi::OsString;

    fn new(fs: &Faulty, dir: &TestDir, compression: Compression) -> TempFile {
        let (prefix, extension) = (OsString::new(), OsString::from("log"));
        let names = Names { prefix, extension, instance: 7, pid: 1 };
        let files = Files { compression, ..Files::default() };
        TempFile::create(fs, dir.path(), &files, &names, 0, TempId::any()).unwrap()
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
        for compression in CODECS {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir, compression);
            let mut expected = String::new();
            for text in ["one ", "two ", "a longer one ", "4"] {
                append(&mut file, text).unwrap();
                expected += text;
                // Its end is there without a further write, for which there may be no room.
                assert_eq!(decode(compression, read(&file)), expected.as_bytes());
                for _ in 0..2 {
                    file.seal().unwrap();
                    assert_eq!(decode(compression, read(&file)), expected.as_bytes());
                    assert_eq!(file.whole().len, read(&file).len() as u64);
                }
                assert_eq!(file.good().count.bytes, expected.len() as u64);
            }
        }
    }

    #[test]
    fn a_write_of_the_end_that_fails_is_tried_again() {
        for compression in CODECS {
            for fault in [Answer::Error(Errno::NOSPC), Answer::Short(0)] {
                let (fs, dir) = (Faulty::default(), TestDir::new());
                let mut file = new(&fs, &dir, compression);
                append(&mut file, "one ").unwrap();
                fs.plan(Op::Write, 1, Answer::Short(1));
                fs.plan(Op::Write, 2, fault);
                append(&mut file, "two ").unwrap_err();
                append(&mut file, "ignored ").unwrap();
                file.seal().unwrap();
                assert_eq!(decode(compression, read(&file)), b"one two ");
                // An end that was written over is written again.
                fs.plan(Op::Write, 1, fault);
                append(&mut file, "lost ").unwrap_err();
                file.drop_uncommitted();
                fs.plan(Op::Write, 1, Answer::Short(1));
                fs.plan(Op::Write, 2, fault);
                assert_eq!(file.seal().unwrap_err().operation(), "write");
                file.seal().unwrap();
                assert_eq!(decode(compression, read(&file)), b"one two ");
            }
        }
    }

    /// The end counts as synced only if an fsync came after it, and is written again if that failed.
    #[test]
    fn a_failed_fsync_takes_the_end_with_it() {
        for compression in CODECS {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir, compression);
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
            assert!(read(&file).ends_with(file.trailer().bytes()));
        }
    }

    #[test]
    fn a_stream_that_lost_records_takes_no_more() {
        for compression in CODECS {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir, compression);
            append(&mut file, "one ").unwrap();
            file.drop_uncommitted();
            assert!(!file.is_closed(), "nothing was lost");
            fs.plan(Op::Write, 1, Answer::Error(Errno::NOSPC));
            append(&mut file, "lost ").unwrap_err();
            file.drop_uncommitted();
            assert!(file.is_closed());
            file.seal().unwrap();
            assert_eq!(decode(compression, read(&file)), b"one ");

            let mut file = new(&fs, &dir, compression);
            append(&mut file, "one ").unwrap();
            file.sync().unwrap();
            append(&mut file, "lost ").unwrap();
            file.drop_unsynced();
            assert!(file.is_closed());
            file.seal().unwrap();
            assert_eq!(decode(compression, read(&file)), b"one ");
        }
    }
}
