//! One worker's temp file, from its creation until it can be renamed.
//!
//! Guarantees: only whole records count, from the start of the file and without a gap. Bytes that a
//! failed write left beyond them are cut off before the file is synced or published. The bytes of
//! whole records are never written over. The header comes with the first records, the footer behind
//! each write.
//!
//! Refuses, after a failed fsync, to write to or sync the same file again. The second fsync would
//! succeed although the data are gone ("Can Applications Recover from fsync Failures?", ATC'20).

mod condition;
mod ending;

pub(crate) use condition::Condition;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{self, Contents, Encoding};
use crate::config::{Compression, Envelope, Files};
use crate::file::aligned::Staging;
use crate::file::direct_io::{Direct, is_refusal};
use crate::fs::{Fs, FsFile, write_all};
use crate::naming::{Names, TempId};
use crate::report::error::Error;
use crate::report::stats::{Count, Watermark};

/// The bytes that an append wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Bytes of records.
    pub(crate) record_bytes: u64,
    /// Bytes of the file.
    pub(crate) len: u64,
}

/// A file that is written under a hidden name.
pub(crate) struct TempFile {
    file: Box<dyn FsFile>,
    path: PathBuf,
    id: TempId,
    /// Device and inode. Known before the first bytes are written.
    inode: Option<(u64, u64)>,
    /// The whole records in the file, and where they end. Zero, or behind the header and records.
    good: Watermark,
    /// The part that the last successful fsync covers. At most `good`.
    synced: Watermark,
    /// The trailer stands behind the records. The next append writes over it.
    is_sealed: bool,
    /// Where the last append wrote a trailer.
    trailer_at: Option<u64>,
    /// At least `good.len`. The file has no bytes at or beyond this offset.
    end_max: u64,
    /// Where the file ended at the last fsync, if nothing was written since.
    synced_end: Option<u64>,
    /// The error of a failed fsync. Never reset.
    failed: Option<Error>,
    /// Set while the file is written with direct I/O.
    direct: Option<Direct>,
    compression: Compression,
    envelope: Arc<Envelope>,
    /// Set if a codec encodes the records.
    encoding: Option<Encoding>,
}

impl TempFile {
    /// Creates an empty file in `dir`, with exactly the configured permissions.
    pub(crate) fn create(
        fs: &dyn Fs,
        dir: &Path,
        files: &Files,
        names: &Names,
        worker: usize,
        id: TempId,
    ) -> Result<Self, Error> {
        let Files { mode, compression, envelope, .. } = files;
        let path = dir.join(names.temp(id.stamp, worker, id.seq));
        let encoding =
            Encoding::new(*compression, envelope).map_err(|e| Error::io("compress", &path, e))?;
        let file = fs.create(&path, *mode).map_err(|e| Error::io("create", &path, e))?;
        // An error here must not leave the file behind: it is asked for again before each write.
        let inode = file.facts().ok().map(|facts| facts.id);
        Ok(TempFile {
            file,
            path,
            id,
            inode,
            good: Watermark::ZERO,
            synced: Watermark::ZERO,
            is_sealed: false,
            trailer_at: None,
            end_max: 0,
            synced_end: None,
            failed: None,
            direct: None,
            compression: *compression,
            envelope: envelope.clone(),
            encoding,
        })
    }

    /// Switches an empty file to direct I/O, if the file system has that.
    pub(crate) fn go_direct(&mut self) {
        debug_assert_eq!(self.end_max, 0);
        self.direct = self.file.go_direct().ok().map(Direct::new);
    }

    /// Whether the file is written with direct I/O.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Writes whole records at the good length, which does not move before
    /// [`commit`](Self::commit). A second call without a commit overwrites the first. Returns the
    /// bytes of records that were written, the bytes of the file that they took, and the error that
    /// stopped the write, if any. Allocates nothing unless it fails, encodes, or has a header or a
    /// footer.
    ///
    /// With direct I/O it writes through `staging`, all or nothing. If the file system refuses, or
    /// has no room for all, the file continues through the page cache, which takes any part.
    /// Encoded records count as a whole or not at all. The encoded bytes of a failed call are
    /// written alone by the next call.
    pub(crate) fn append(
        &mut self,
        slices: &mut [IoSlice<'_>],
        staging: &mut Staging,
    ) -> (Appended, Result<(), Error>) {
        if let Some(error) = &self.failed {
            return (Appended::default(), Err(error.clone()));
        }
        if let Err(error) = self.encode(slices) {
            return (Appended::default(), Err(error));
        }
        let Some(encoding) = self.encoding.take() else {
            if self.envelope.is_empty() {
                let (len, result) = self.put(slices, staging);
                return (Appended { record_bytes: len, len }, result);
            }
            return self.append_enclosed(slices, staging);
        };
        let envelope = self.envelope.clone();
        let (out, record_bytes, checksum) = encoding.output();
        // The file is whole after each write. So no file that takes records lacks room for its end.
        let contents = contents(&envelope, self.good.count.bytes + record_bytes, checksum);
        let trailer = codec::trailer(self.compression, &contents);
        let [before, footer, after] = trailer.slices();
        let (len, result) = self.put(&mut [IoSlice::new(out), before, footer, after], staging);
        let appended = Appended {
            record_bytes: if result.is_ok() { record_bytes } else { 0 },
            len: len.min(out.len() as u64),
        };
        self.encoding = Some(encoding);
        (appended, result)
    }

    /// Writes records as they are, before the first ones the header, and behind them the footer. If
    /// not all was written, as many of them count as leave room for the footer.
    fn append_enclosed(
        &mut self,
        slices: &[IoSlice<'_>],
        staging: &mut Staging,
    ) -> (Appended, Result<(), Error>) {
        let envelope = self.envelope.clone();
        let Envelope { header, footer } = &*envelope;
        let header = if self.good.len == 0 { &header[..] } else { &[] };
        let all: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let mut enclosed = [&[IoSlice::new(header)], slices, &[IoSlice::new(footer)]].concat();
        let (len, result) = self.put(&mut enclosed, staging);
        let ends = header.len() as u64 + all;
        self.trailer_at = result.is_ok().then_some(self.good.len + ends);
        let others = (header.len() + footer.len()) as u64;
        let appended =
            Appended { record_bytes: len.saturating_sub(others).min(all), len: len.min(ends) };
        (appended, result)
    }

    /// Encodes the records of the next [`append`](Self::append), which must be the same ones. It may
    /// take long, so it comes before the look at the file that precedes each write.
    pub(crate) fn encode(&mut self, slices: &[IoSlice<'_>]) -> Result<(), Error> {
        match &mut self.encoding {
            None => Ok(()),
            Some(encoding) => {
                encoding.encode(slices).map_err(|e| Error::io("compress", &self.path, e))
            }
        }
    }

    /// Writes bytes at the good length and advances the slices.
    fn put(
        &mut self,
        slices: &mut [IoSlice<'_>],
        staging: &mut Staging,
    ) -> (u64, Result<(), Error>) {
        (self.is_sealed, self.trailer_at, self.synced_end) = (false, None, None);
        let (written, result) = match self.append_direct(slices, staging) {
            Some(written) => written,
            None => write_all(&mut *self.file, slices, self.good.len),
        };
        match result {
            Ok(()) => {
                self.end_max = self.end_max.max(self.good.len + written);
                (written, Ok(()))
            }
            Err(error) => {
                // How much a failed call wrote is unknown.
                self.end_max = u64::MAX;
                (written, Err(Error::io("write", &self.path, error)))
            }
        }
    }

    /// Writes with direct I/O. `None` if the file does not use it, or no longer does.
    fn append_direct(
        &mut self,
        slices: &[IoSlice<'_>],
        staging: &mut Staging,
    ) -> Option<(u64, io::Result<()>)> {
        let direct = self.direct.as_mut()?;
        match direct.write(&mut *self.file, slices, staging, self.good.len) {
            Ok(written) => Some((written, Ok(()))),
            // The page cache would only hide any other fault of the disk.
            Err(error) if !is_refusal(&error) => Some((0, Err(error))),
            Err(error) => match self.file.go_buffered() {
                Ok(()) => {
                    // How much was written is unknown.
                    (self.direct, self.end_max) = (None, u64::MAX);
                    None
                }
                Err(_) => Some((0, Err(error))),
            },
        }
    }

    /// Commits the records that were written beyond the good length, or the first of them.
    pub(crate) fn commit(&mut self, count: Count) {
        if count.bytes == 0 {
            return;
        }
        match &mut self.encoding {
            None => {
                let header = if self.good.len == 0 { self.envelope.header.len() as u64 } else { 0 };
                self.good.len += header + count.bytes;
                self.is_sealed = self.trailer_at == Some(self.good.len);
            }
            Some(encoding) => {
                let (len, checksum) = encoding.commit(count.bytes);
                self.good.len += len;
                self.good.checksum = checksum;
                // Its trailer was written with it.
                self.is_sealed = true;
            }
        }
        self.good.count += count;
        debug_assert!(self.good.len <= self.end_max, "committed more than was written");
    }

    /// How long the codec has worked since the last call; zero without one.
    pub(crate) fn take_codec_time(&mut self) -> Duration {
        self.encoding.as_mut().map_or(Duration::ZERO, Encoding::take_time)
    }

    /// Removes the file, whatever is in it.
    pub(crate) fn remove(&self, fs: &dyn Fs) -> Result<(), Error> {
        fs.remove(&self.path).map_err(|e| Error::io("unlink", &self.path, e))
    }

    /// Whether an fsync failed.
    pub(crate) fn is_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Whether nothing can be added to the file any more: an fsync failed, or records that it lost
    /// are in the middle of an encoded stream.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_failed() || self.encoding.as_ref().is_some_and(Encoding::is_broken)
    }

    /// The path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The parts from which its name can be made again.
    pub(crate) fn id(&self) -> TempId {
        self.id
    }

    /// The whole records in the file, and where they end.
    pub(crate) fn good(&self) -> Watermark {
        self.good
    }

    /// The part that an fsync covers.
    pub(crate) fn synced(&self) -> Watermark {
        self.synced
    }
}

/// What a file holds that ends behind these bytes of records.
fn contents(envelope: &Envelope, record_bytes: u64, checksum: u32) -> Contents<'_> {
    let len = envelope.header.len() as u64 + record_bytes;
    Contents { len, checksum, footer: &envelope.footer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::Errno;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::removes_open_files;
    use std::ffi::OsString;
    use std::io::ErrorKind;

    fn names() -> Names {
        let extension = OsString::from("log");
        Names { prefix: OsString::from("p"), extension, instance: 7, pid: 1 }
    }

    fn new(fs: &Faulty, dir: &TestDir) -> TempFile {
        TempFile::create(fs, dir.path(), &Files::default(), &names(), 3, TempId::any()).unwrap()
    }

    fn append(file: &mut TempFile, texts: &[&str]) -> (u64, Result<(), Error>) {
        let mut slices: Vec<_> = texts.iter().map(|text| IoSlice::new(text.as_bytes())).collect();
        let (appended, result) = file.append(&mut slices, &mut Staging::none());
        assert_eq!(appended.len, appended.record_bytes, "records as they are");
        (appended.len, result)
    }

    /// Writes one record and commits it.
    fn add(file: &mut TempFile, text: &str) {
        let (written, result) = append(file, &[text]);
        result.unwrap();
        assert_eq!(written, text.len() as u64);
        file.commit(Count::new(1, written));
    }

    fn read(file: &TempFile) -> String {
        std::fs::read_to_string(file.path()).unwrap()
    }

    #[test]
    fn appends_commits_and_is_known_by_its_name() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut file = new(&fs, &dir);
        assert_eq!(file.good().len, 0);
        let id = file.id();
        assert_eq!(dir.list(), [names().temp(id.stamp, 3, id.seq)]);
        assert_eq!(append(&mut file, &["one ", "", "two "]).0, 8);
        assert_eq!(file.good().len, 0);
        file.commit(Count::new(2, 8));
        add(&mut file, "three ");
        file.seal().unwrap();
        assert_eq!(
            (read(&file).as_str(), file.good().count),
            ("one two three ", Count::new(3, 14))
        );
        assert_eq!(fs.calls(Op::SetLen), 0, "nothing to cut");
        file.remove(&fs).unwrap();
        drop(file);
        assert!(dir.list().is_empty());
    }

    #[test]
    fn what_was_not_committed_is_overwritten_or_cut() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut file = new(&fs, &dir);
        append(&mut file, &["something long"]).1.unwrap();
        add(&mut file, "short");
        assert_eq!(read(&file), "shorthing long");
        file.seal().unwrap();
        assert_eq!(read(&file), "short");
        file.seal().unwrap();
        assert_eq!(fs.calls(Op::SetLen), 1);
    }

    #[test]
    fn short_and_interrupted_writes_go_on() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut file = new(&fs, &dir);
        for (nth, fault) in [
            (1, Answer::Short(1)),
            (2, Answer::Error(Errno::INTR)),
            (3, Answer::Short(4)),
            (4, Answer::Short(2)),
        ] {
            fs.plan(Op::Write, nth, fault);
        }
        let (written, result) = append(&mut file, &["ab", "", "cdefg", "hij"]);
        result.unwrap();
        assert_eq!((written, read(&file).as_str()), (10, "abcdefghij"));
        assert_eq!(fs.calls(Op::Write), 5);
    }

    #[test]
    fn a_disk_that_fills_up_leaves_whole_records() {
        for end in [Answer::Error(Errno::NOSPC), Answer::Short(0)] {
            let (fs, dir) = (Faulty::default(), TestDir::new());
            let mut file = new(&fs, &dir);
            add(&mut file, "first ");
            fs.plan(Op::Write, 1, Answer::Short(10));
            fs.plan(Op::Write, 2, end);
            let (written, result) = append(&mut file, &["second ", "third "]);
            let error = result.unwrap_err();
            assert_eq!((written, error.operation()), (10, "write"));
            assert_eq!(error.path(), Some(file.path()));
            let full = matches!(end, Answer::Error(_));
            let kind = if full { ErrorKind::StorageFull } else { ErrorKind::WriteZero };
            assert_eq!(error.kind(), kind);
            file.commit(Count::new(1, 7));
            assert_eq!(read(&file), "first second thi");

            // There is room again: the torn record is overwritten or cut off.
            let (_, result) = append(&mut file, &["x"]);
            result.unwrap();
            file.commit(Count::new(1, 1));
            fs.plan(Op::SetLen, 1, Answer::Error(Errno::IO));
            let error = file.seal().unwrap_err();
            assert_eq!(error.operation(), "truncate");
            file.seal().unwrap();
            assert_eq!((read(&file).as_str(), file.good().len), ("first second x", 14));
        }
    }

    #[test]
    fn a_sync_covers_whole_records_only() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut file = new(&fs, &dir);
        add(&mut file, "first ");
        append(&mut file, &["torn"]).1.unwrap();
        assert_eq!(file.synced().count, Count::ZERO);
        file.sync().unwrap();
        assert_eq!((read(&file).as_str(), file.synced().count), ("first ", Count::new(1, 6)));
        assert_eq!((fs.calls(Op::SetLen), fs.calls(Op::Sync)), (1, 1));
        // A tail that is cut later must not come back when the power is cut.
        assert!(file.is_synced());
        append(&mut file, &["torn"]).1.unwrap();
        assert!(!file.is_synced());
        file.sync().unwrap();
        assert!(file.is_synced());
    }

    #[test]
    fn a_failed_fsync_is_final_and_what_it_covered_is_dropped() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        let mut file = new(&fs, &dir);
        add(&mut file, "first ");
        file.sync().unwrap();
        add(&mut file, "second ");
        add(&mut file, "third ");
        append(&mut file, &["torn"]).1.unwrap();
        fs.plan(Op::Sync, 1, Answer::Error(Errno::IO));
        let errors = [
            file.sync().unwrap_err(),
            file.sync().unwrap_err(),
            append(&mut file, &["more"]).1.unwrap_err(),
            file.seal().unwrap_err(),
        ];
        let first = errors[0].to_string();
        assert!(first.starts_with("fsync ") && errors.iter().all(|e| e.to_string() == first));
        assert_eq!((fs.calls(Op::Sync), fs.calls(Op::Write)), (2, 4));

        fs.plan(Op::SetLen, 1, Answer::Error(Errno::IO));
        assert_eq!(file.roll_back_to_synced().unwrap_err().operation(), "truncate");
        assert_eq!(file.good().count, Count::new(3, 19));
        (0..2).for_each(|_| file.roll_back_to_synced().unwrap());
        file.seal().unwrap();
        assert_eq!((read(&file).as_str(), file.good().count), ("first ", Count::new(1, 6)));
        assert!(file.sync().is_err());
        assert_eq!(fs.calls(Op::Sync), 2);
    }

    #[test]
    fn errors_name_the_operation_and_the_path() {
        let (fs, dir) = (Faulty::default(), TestDir::new());
        fs.plan(Op::Create, 1, Answer::Error(Errno::MFILE));
        let error =
            TempFile::create(&fs, dir.path(), &Files::default(), &names(), 0, TempId::any());
        let error = error.err().unwrap();
        assert_eq!(
            (error.operation(), error.path().unwrap().parent()),
            ("create", Some(dir.path()))
        );
        if removes_open_files() {
            let file = new(&fs, &dir);
            std::fs::remove_file(file.path()).unwrap();
            let error = file.remove(&fs).unwrap_err();
            assert_eq!((error.operation(), error.kind()), ("unlink", ErrorKind::NotFound));
        }
    }
}
