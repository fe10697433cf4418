//! This library, through each of its calls.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bufferedwriter::testing::{Facts, Fs, FsFile, RealFs};
use bufferedwriter::{BufferedWriter, Config, CrashProof, Producer, Recorder};

use crate::subject::{Running, Setup, Sink, Subject, Unavailable, Writer};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Producer,
    Writer,
    Record,
    Send,
}

/// What the writer does with its memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Files,
    /// Memory that outlives the process, in /dev/shm.
    CrashProof,
    /// The newest records stay in memory.
    Recorder,
}

pub struct Ours {
    pub call: Call,
    pub mode: Mode,
}

impl Subject for Ours {
    fn name(&self) -> &'static str {
        match (self.call, self.mode) {
            (Call::Producer, Mode::Files) => "Producer::write",
            (Call::Producer, Mode::CrashProof) => "Producer::write, crash-proof",
            (Call::Producer, Mode::Recorder) => "Producer::write, recorder",
            (Call::Writer, Mode::Files) => "BufferedWriter::write",
            (Call::Writer, Mode::CrashProof) => "BufferedWriter::write, crash-proof",
            (Call::Writer, Mode::Recorder) => "BufferedWriter::write, recorder",
            (Call::Record, _) => "record",
            (Call::Send, _) => "send",
        }
    }

    fn when_outrun(&self) -> &'static str {
        if self.mode == Mode::Recorder {
            "the oldest is overwritten, counted"
        } else {
            "refused, counted"
        }
    }

    fn ours(&self) -> bool {
        true
    }

    fn is_extra(&self) -> bool {
        self.mode != Mode::Files
    }

    fn lands(&self) -> bool {
        self.mode != Mode::Recorder
    }

    fn start(&self, setup: &Setup) -> Result<Box<dyn Running>, Unavailable> {
        let workers = 8;
        let chunks = (setup.memory_bytes / setup.buffer_bytes).max(workers + 1);
        let temp = setup.dir.join(".temp");
        let mut config = Config::default()
            .path(&setup.dir)
            .temp(temp)
            .create_dirs(true)
            .size(setup.buffer_bytes)
            .workers(workers)
            .queue_size(chunks - workers);
        match self.mode {
            Mode::Files => {}
            Mode::CrashProof => config = config.crash_proof(CrashProof::Auto),
            // An eighth is for what comes during a dump.
            Mode::Recorder => config = config.recorder(Recorder::Whole),
        }
        if setup.sink == Sink::Null {
            config = config.fs(Arc::new(NullFs));
        }
        let writer = BufferedWriter::new(config).map_err(|error| Unavailable(error.to_string()))?;
        Ok(Box::new(AtWork { writer, call: self.call, buffer_bytes: setup.buffer_bytes }))
    }
}

struct AtWork {
    writer: BufferedWriter,
    call: Call,
    buffer_bytes: usize,
}

impl Running for AtWork {
    fn writer(&self) -> Box<dyn Writer + '_> {
        let (writer, buffer_bytes) = (&self.writer, self.buffer_bytes);
        match self.call {
            Call::Producer => Box::new(ByProducer { producer: writer.producer(), buffer_bytes }),
            Call::Writer => Box::new(ByWriter { writer, buffer_bytes }),
            Call::Record => Box::new(ByRecord { writer }),
            Call::Send => Box::new(BySend { writer }),
        }
    }

    /// Does not see the chunks that producers fill just now.
    fn settle(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        loop {
            let waiting: usize = self.writer.stats().workers.iter().map(|w| w.backlog_chunks).sum();
            if waiting == 0 {
                return true;
            }
            if began.elapsed() > timeout {
                return false;
            }
            std::thread::yield_now();
        }
    }

    fn finish(self: Box<Self>, timeout: Duration) {
        // Losses show in the files.
        let _ = self.writer.close(timeout);
    }
}

struct ByProducer {
    producer: Producer,
    buffer_bytes: usize,
}

impl Writer for ByProducer {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.producer.write(record).is_ok()
    }

    fn swaps_every(&self, record_bytes: usize) -> Option<u64> {
        Some((self.buffer_bytes / record_bytes) as u64)
    }
}

struct ByWriter<'a> {
    writer: &'a BufferedWriter,
    buffer_bytes: usize,
}

impl Writer for ByWriter<'_> {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.writer.write(record).is_ok()
    }

    fn swaps_every(&self, record_bytes: usize) -> Option<u64> {
        Some((self.buffer_bytes / record_bytes) as u64)
    }
}

struct ByRecord<'a> {
    writer: &'a BufferedWriter,
}

impl Writer for ByRecord<'_> {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.writer.record(|w| io::Write::write_all(w, record).map_err(|_| std::fmt::Error)).is_ok()
    }
}

struct BySend<'a> {
    writer: &'a BufferedWriter,
}

impl Writer for BySend<'_> {
    #[inline]
    fn write(&mut self, record: &[u8]) -> bool {
        self.writer.send(record.to_vec()).is_ok()
    }
}

/// The machine's file system, except that writes to its files are dropped.
struct NullFs;

impl Fs for NullFs {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn FsFile>> {
        Ok(NullFile::over(RealFs.create(path, mode)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealFs.exists(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(NullFile::over(RealFs.open(path)?))
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        RealFs.facts(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        RealFs.list(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        RealFs.free_bytes(dir)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        RealFs.boot_id()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.sync_dir(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealFs.create_dir_all(dir)
    }

    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        RealFs.canonicalize(dir)
    }
}

struct NullFile {
    file: Box<dyn FsFile>,
    /// What it would have. A writer gives up a file that is shorter than what it has written.
    len: Arc<AtomicU64>,
}

impl NullFile {
    fn over(file: Box<dyn FsFile>) -> Box<dyn FsFile> {
        Box::new(NullFile { file, len: Arc::default() })
    }
}

impl FsFile for NullFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let written: usize = slices.iter().map(|slice| slice.len()).sum();
        self.len.fetch_max(offset + written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn facts(&self) -> io::Result<Facts> {
        Ok(Facts { len: self.len.load(Ordering::Relaxed), ..self.file.facts()? })
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&mut self) -> io::Result<()> {
        self.file.try_lock()
    }

    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(NullFile { file: self.file.try_clone()?, len: Arc::clone(&self.len) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_counts_as_written() {
        let dir = bufferedwriter_testkit::dir::TestDir::new();
        let config = Config::default().path(dir.path()).temp(dir.path()).fs(Arc::new(NullFs));
        let writer = BufferedWriter::new(config).unwrap();
        for _ in 0..3 {
            writer.write(&[b'x'; 5000]).unwrap();
            writer.flush(Duration::from_secs(30)).unwrap();
        }
        let report = writer.close(Duration::from_secs(30)).unwrap();
        assert_eq!((report.written.records, report.lost.total().records), (3, 0));
    }
}
