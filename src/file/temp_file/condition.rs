//! Whether a temp file still is what its writer made of it, and what can be saved if not.
//!
//! Other programs may truncate a temp file, remove or move it, or close its descriptor. A file
//! system may be mounted over its directory.
//!
//! Guarantees: finds out before bytes are added, synced or published. What is gone is never
//! published as zeros. A file that has only lost its place is copied from its descriptor.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

use crate::config::Files;
use crate::file::temp_file::TempFile;
use crate::fs::{Facts, Fs, is_lost_descriptor, read_full, write_all};
use crate::naming::{Names, Stamp, TempId};
use crate::report::error::Error;

/// Bytes of one step of a copy.
const COPY_BYTES: usize = 256 << 10;

/// What other programs have left of a temp file.
#[derive(Debug)]
pub(crate) enum Condition {
    /// The file is as its writer left it.
    Sound,
    /// The file has all its records, but its name no longer leads to it.
    OutOfReach,
    /// Someone removed the file.
    Removed(Error),
    /// Someone truncated the file: a part of its records is gone.
    Damaged(Error),
}

impl TempFile {
    /// Checks the file behind the descriptor. Opens it again if the program has closed the
    /// descriptor.
    pub(crate) fn examine(&mut self, fs: &dyn Fs) -> Result<Condition, Error> {
        let facts = match self.file.facts() {
            Err(error) if is_lost_descriptor(&error) => match self.open_again(fs)? {
                Some(facts) => facts,
                None => return Ok(Condition::Removed(self.error("open", error))),
            },
            facts => facts.map_err(|e| self.error("look up", e))?,
        };
        self.inode.get_or_insert(facts.id);
        // Someone may have appended to it, or taken off its end.
        self.end_max = self.end_max.max(facts.len);
        self.is_sealed &= facts.len >= self.whole().len;
        Ok(match self.damage(&facts) {
            Some(error) => Condition::Damaged(error),
            None => Condition::Sound,
        })
    }

    /// Checks the file before it is sealed and renamed: also its name, and that no part of it is
    /// missing.
    pub(crate) fn examine_whole(&mut self, fs: &dyn Fs) -> Result<Condition, Error> {
        match self.examine(fs)? {
            Condition::Sound => {}
            condition => return Ok(condition),
        }
        // A file that was truncated between two writes has a hole where its records were.
        if self.file.has_hole(self.good.len).map_err(|e| self.error("look for holes in", e))? {
            return Ok(Condition::Damaged(self.error("look for holes in", truncated())));
        }
        if self.has_name(fs, &self.path)? {
            return Ok(Condition::Sound);
        }
        Ok(match self.has_any_name()? {
            false => Condition::Removed(self.error("rename", ErrorKind::NotFound.into())),
            true => Condition::OutOfReach,
        })
    }

    /// Whether this path leads to the file.
    pub(crate) fn has_name(&self, fs: &dyn Fs, path: &Path) -> Result<bool, Error> {
        let found = fs.facts(path).map_err(|e| Error::io("look up", path, e))?;
        Ok(found.is_some_and(|found| Some(found.id) == self.inode))
    }

    /// Whether any path leads to the file.
    pub(crate) fn has_any_name(&self) -> Result<bool, Error> {
        self.file.facts().map(|facts| facts.links > 0).map_err(|e| self.error("look up", e))
    }

    fn damage(&self, facts: &Facts) -> Option<Error> {
        (facts.len < self.good.len).then(|| self.error("look up", truncated()))
    }

    /// Opens the file by its name, without direct I/O. `None` if the name is gone, or belongs to
    /// another file.
    fn open_again(&mut self, fs: &dyn Fs) -> Result<Option<Facts>, Error> {
        if !self.has_name(fs, &self.path)? {
            return Ok(None);
        }
        let file = fs.open(&self.path).map_err(|e| self.error("open", e))?;
        let facts = file.facts().map_err(|e| self.error("look up", e))?;
        if Some(facts.id) != self.inode {
            return Ok(None);
        }
        self.file = file;
        // What the last write did is unknown.
        self.end_max = u64::MAX;
        self.direct = None;
        Ok(Some(facts))
    }

    /// Copies the records from the descriptor to a new file in `dir`, which takes the place of this
    /// one. Its stamp must be another one. This file stays.
    pub(crate) fn copy_to(
        &mut self,
        fs: &dyn Fs,
        dir: &Path,
        files: &Files,
        names: &Names,
        worker: usize,
        stamp: Stamp,
    ) -> Result<TempFile, Error> {
        // Reads may have any length then.
        self.file.go_buffered().map_err(|e| self.error("read", e))?;
        self.direct = None;
        let id = TempId { stamp, ..self.id };
        let mut copy = TempFile::create(fs, dir, files, names, worker, id)?;
        if let Err(error) = self.copy_records(&mut copy) {
            let _ = copy.remove(fs);
            return Err(error);
        }
        (copy.good, copy.end_max) = (self.good, self.good.len);
        Ok(copy)
    }

    /// Gives what is encoded and not written yet to the copy, which goes on from here.
    pub(crate) fn hand_over(&mut self, copy: &mut TempFile) {
        copy.encoding = self.encoding.take();
    }

    fn copy_records(&mut self, copy: &mut TempFile) -> Result<(), Error> {
        let (end, mut at) = (self.good.len, 0);
        let mut buffer = vec![0; COPY_BYTES.min(end as usize)];
        while at < end {
            let part = &mut buffer[..(end - at).min(COPY_BYTES as u64) as usize];
            let read = read_full(&mut *self.file, part, at).map_err(|e| self.error("read", e))?;
            if read < part.len() {
                return Err(self.error("read", ErrorKind::UnexpectedEof.into()));
            }
            write_all(&mut *copy.file, &mut [IoSlice::new(part)], at)
                .1
                .map_err(|e| copy.error("write", e))?;
            at += read as u64;
        }
        Ok(())
    }

    /// Empties a file that its name no longer leads to, after it was copied: whoever finds it must
    /// not take its records for missing ones.
    pub(crate) fn empty(&mut self) {
        let _ = self.file.set_len(0);
    }

    fn error(&self, operation: &'static str, error: io::Error) -> Error {
        Error::io(operation, &self.path, error)
    }
}

fn truncated() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "another program has truncated the file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::file::aligned::Staging;
    use crate::report::stats::Count;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;

    fn names() -> Names {
        Names { prefix: "p".into(), extension: "log".into(), instance: 7, pid: 1 }
    }

    /// A file with a record of this length.
    fn with_record(fs: &Faulty, dir: &TestDir, len: usize) -> (TempFile, Vec<u8>) {
        let files = Files::default();
        let mut file =
            TempFile::create(fs, dir.path(), &files, &names(), 3, TempId::any()).unwrap();
        let record: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        file.append(&mut [IoSlice::new(&record)], &mut Staging::none()).1.unwrap();
        file.commit(Count::new(1, len as u64));
        (file, record)
    }

    #[test]
    fn a_copy_has_all_records_however_long_the_file_is() {
        for len in [1, COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + 1, 2 * COPY_BYTES + 5] {
            let (fs, dir, other) = (Faulty::default(), TestDir::new(), TestDir::new());
            let (mut file, record) = with_record(&fs, &dir, len);
            let copy = file.copy_to(&fs, other.path(), &Files::default(), &names(), 3, Stamp(1));
            let copy = copy.unwrap();
            assert_eq!((copy.good(), copy.id().seq), (file.good(), file.id().seq));
            assert!(std::fs::read(copy.path()).unwrap() == record, "{len}");
        }
    }

    #[test]
    fn a_file_that_somebody_cuts_meanwhile_has_no_copy() {
        let (fs, dir, other) = (Faulty::default(), TestDir::new(), TestDir::new());
        let (mut file, record) = with_record(&fs, &dir, COPY_BYTES + 10);
        let cut = std::fs::OpenOptions::new().write(true).open(file.path()).unwrap();
        cut.set_len(record.len() as u64 - 1).unwrap();
        let copied = file.copy_to(&fs, other.path(), &Files::default(), &names(), 3, Stamp(1));
        assert_eq!(copied.err().map(|error| error.kind()), Some(ErrorKind::UnexpectedEof));
        assert!(other.list().is_empty());
    }

    #[test]
    fn a_look_that_fails_is_an_error_and_opens_nothing() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let (mut file, _) = with_record(&fs, &dir, 1);
        fs.plan(Op::Facts, 1, Answer::Error(Errno::IO));
        assert_eq!(file.examine(&fs).err().map(|error| error.operation()), Some("look up"));
        assert!(matches!(file.examine(&fs), Ok(Condition::Sound)));
        assert_eq!(fs.calls(Op::Open), 0);
    }
}
