//! The memory of a dead instance: what was in it, and in no file, becomes a file.
//!
//! Guarantees: each record once, also if whoever does this is killed in the middle and somebody begins anew:
//! all of it goes to one temp file, whose stamp is noted in the memory once it is complete and forced to the
//! disk; only then it is renamed, and only then the memory is removed. Touches the memory only with its
//! lock, and it is never mapped. Refuses memory that is not this user's own.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::file::publish::{self, Refusal};
use crate::file::state_file::decode::Unreadable;
use crate::fs::{Fs, FsFile, read_full, write_all};
use crate::memory::crash_image::{WriterWord, step};
use crate::naming::{self, Names, Stamp};
use crate::recovery::memory_image::{self, MemoryImage, Run};
use crate::recovery::verdict::is_ours;
use crate::report::error::Error;
use crate::report::recovery::SkipReason;

/// Bytes of one copy.
const COPY_BYTES: usize = 256 << 10;

/// What stands where the memory should be.
pub(crate) enum Found {
    Nothing,
    /// Somebody else has its lock: the instance lives, or another recovery was quicker.
    Alive,
    LeaveAlone(SkipReason),
    /// Its lock is ours, and it is not what its writer wrote.
    Damaged(PathBuf),
    Memory(Memory),
}

/// The memory of a dead instance, whose lock is held.
pub(crate) struct Memory {
    file: Box<dyn FsFile>,
    path: PathBuf,
    pub(crate) relics: MemoryImage,
}

/// Where files of a dead instance are made and become visible.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) temp: &'a Path,
    pub(crate) path: &'a Path,
    pub(crate) names: &'a Names,
}

impl Memory {
    /// Opens and locks the memory of this instance, which is in `dir`.
    pub(crate) fn open(fs: &dyn Fs, dir: &Path, names: &Names, uid: u32) -> Result<Found, Error> {
        let path = dir.join(names.memory());
        let failed = |operation, e| Error::io(operation, &path, e);
        let Some(facts) = fs.facts(&path).map_err(|e| failed("look up", e))? else {
            return Ok(Found::Nothing);
        };
        let is_ours = facts.is_file && facts.uid == uid && facts.mode & 0o077 == 0;
        if !is_ours || facts.links != 1 {
            return Ok(Found::LeaveAlone(SkipReason::NotOurs));
        }
        let mut file = match fs.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            opened => opened.map_err(|e| failed("open", e))?,
        };
        match file.try_lock() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Found::Alive),
            locked => locked.map_err(|e| failed("lock", e))?,
        }
        let now = fs.facts(&path).map_err(|e| failed("look up", e))?;
        let opened = file.facts().map_err(|e| failed("look up", e))?;
        if now.is_none_or(|now| now.id != facts.id || now.id != opened.id) {
            // Somebody was quicker.
            return Ok(Found::Alive);
        }
        match memory_image::read(&mut *file, names).map_err(|e| failed("read", e))? {
            Ok(relics) => Ok(Found::Memory(Memory { file, path, relics })),
            Err(Unreadable::Version(version)) => {
                Ok(Found::LeaveAlone(SkipReason::Version(version)))
            }
            Err(Unreadable::Short | Unreadable::Damaged) => Ok(Found::Damaged(path)),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of records that are in no file.
    pub(crate) fn bytes(&self) -> u64 {
        if self.relics.rescued.is_some() {
            return 0;
        }
        self.relics.runs.iter().map(|run| (run.to - run.from) as u64).sum()
    }

    /// The number of a worker that the writer did not have: temp files with it are made here.
    pub(crate) fn worker(&self) -> usize {
        self.relics.layout.workers
    }

    /// Makes visible what is in no file. The file and its bytes, unless there was nothing.
    pub(crate) fn rescue(&mut self, places: Places<'_>) -> Result<Option<(PathBuf, u64)>, Error> {
        let stamp = match self.relics.rescued {
            Some(stamp) => stamp,
            None => {
                self.remove_unfinished(places)?;
                if self.relics.runs.is_empty() {
                    return Ok(None);
                }
                self.copy(places)?
            }
        };
        let Places { fs, temp, path, names } = places;
        let temp = temp.join(names.temp(stamp, self.worker(), 0));
        let Some(facts) = fs.facts(&temp).map_err(|e| Error::io("look up", &temp, e))? else {
            // It was renamed by whoever noted the stamp.
            return Ok(None);
        };
        if !is_ours(&facts, geteuid().as_raw()) || facts.links != 1 {
            return Err(Error::io("publish", &temp, ErrorKind::InvalidInput.into()));
        }
        step();
        let visible = publish::rename(fs, &temp, path, names, self.worker(), 0, true)
            .map_err(|(Refusal::Gone(error) | Refusal::Retry(error))| error)?;
        step();
        publish::sync_dir(fs, path)?;
        Ok(Some((visible, facts.len)))
    }

    /// Temp files of recoveries that were killed before they were complete.
    fn remove_unfinished(&self, places: Places<'_>) -> Result<(), Error> {
        let Places { fs, temp, names, .. } = places;
        let Names { prefix, extension, instance, pid } = names;
        for name in fs.list(temp).map_err(|e| Error::io("list", temp, e))? {
            let is_its = naming::parse(&name, prefix, extension).is_some_and(|parsed| {
                let id = (parsed.instance, parsed.pid, parsed.worker);
                parsed.temp && id == (*instance, *pid, self.worker())
            });
            if is_its {
                let path = temp.join(&name);
                fs.remove(&path).map_err(|e| Error::io("unlink", &path, e))?;
            }
        }
        Ok(())
    }

    /// Copies all that is in no file to a temp file, and notes its stamp once it is on the disk.
    fn copy(&mut self, places: Places<'_>) -> Result<Stamp, Error> {
        let Places { fs, temp, names, .. } = places;
        let stamp = Stamp::next();
        let path = temp.join(names.temp(stamp, self.worker(), 0));
        let mut file =
            fs.create(&path, self.relics.layout.mode).map_err(|e| Error::io("create", &path, e))?;
        step();
        let (mut buffer, mut end) = (Vec::with_capacity(COPY_BYTES), 0);
        for nth in 0..self.relics.runs.len() {
            let mut run = self.relics.runs[nth];
            while run.from < run.to {
                self.read(&mut run, &mut buffer)?;
                if buffer.len() == COPY_BYTES {
                    write(&mut *file, &path, &mut buffer, &mut end)?;
                }
            }
        }
        write(&mut *file, &path, &mut buffer, &mut end)?;
        step();
        file.sync().map_err(|e| Error::io("fsync", &path, e))?;
        step();
        let at = self.relics.layout.word_at(WriterWord::Salvaged) as u64;
        let word = stamp.0.to_ne_bytes();
        write_all(&mut *self.file, &mut [IoSlice::new(&word)], at)
            .1
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.relics.rescued = Some(stamp);
        Ok(stamp)
    }

    /// Moves on with some bytes, as many as the buffer has room for.
    fn read(&mut self, run: &mut Run, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let (had, len) = (buffer.len(), (run.to - run.from).min(COPY_BYTES - buffer.len()));
        buffer.resize(had + len, 0);
        let at = self.relics.layout.byte_at(run.chunk, run.from) as u64;
        let read = read_full(&mut *self.file, &mut buffer[had..], at)
            .map_err(|e| Error::io("read", &self.path, e))?;
        if read < len {
            return Err(Error::io("read", &self.path, ErrorKind::UnexpectedEof.into()));
        }
        run.from += len;
        Ok(())
    }

    /// All is visible: nothing in it is of use any more.
    pub(crate) fn remove(&self, fs: &dyn Fs) -> Result<(), Error> {
        step();
        match fs.remove(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("unlink", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

fn write(
    file: &mut dyn FsFile,
    path: &Path,
    buffer: &mut Vec<u8>,
    end: &mut u64,
) -> Result<(), Error> {
    let written = write_all(file, &mut [IoSlice::new(buffer)], *end).1;
    written.map_err(|e| Error::io("write", path, e))?;
    *end += buffer.len() as u64;
    buffer.clear();
    Ok(())
}
