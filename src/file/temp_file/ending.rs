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
        self.synced == self.good
            && self.end_max == self.end()
            && self.synced_end == Some(self.end())
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
