//! Salvages the crash-proof memory of a dead instance: its unfiled records become a file.
//!
//! Guarantees: each record is published once, even if the recovery is killed and another starts
//! again. All unfiled records go to one temp file. The recovery notes its stamp in the memory once
//! the file is complete and synced. Only then it renames the file, and only then it removes the
//! memory. Touches the memory only under its lock, and never maps it. Refuses memory that does not
//! belong to this user alone.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use crate::base::sys::host::user;
use crate::codec::{self, Contents, Encoder};
use crate::config::Compression;
use crate::file::publish::Identity;
use crate::file::state_file::decode::Unreadable;
use crate::file::state_file::format::FileLayout;
use crate::file::tree;
use crate::fs::{Fs, FsFile, read_full, write_all};
use crate::memory::crash_image::{WriterWord, step};
use crate::naming::{self, Names, Partition, Stamp};
use crate::recovery::audience::{Audience, LeftOver};
use crate::recovery::memory_image::{self, MemoryImage, Unfiled};
use crate::recovery::scan;
use crate::recovery::verdict::is_ours;
use crate::report::error::Error;
use crate::report::recovery::SkipReason;
use crate::report::stats::{Count, Watermark};

/// Bytes of one copy step.
pub(super) const COPY_BYTES: usize = 256 << 10;

/// The file at the path of the memory.
pub(crate) enum Found {
    Nothing,
    /// Another process has its lock: the instance is alive, or another recovery was faster.
    Alive,
    Skip(SkipReason),
    /// We hold its lock, and its contents are not what its writer wrote.
    Damaged(PathBuf),
    Memory(DeadMemory),
}

/// The memory of a dead instance. This value holds its lock.
pub(crate) struct DeadMemory {
    file: Box<dyn FsFile>,
    path: PathBuf,
    pub(crate) image: MemoryImage,
}

/// Where the files of a dead instance are made, and where they become visible.
#[derive(Clone, Copy)]
pub(crate) struct Locations<'a> {
    pub(crate) fs: &'a dyn Fs,
    pub(crate) temp: &'a Path,
    pub(crate) path: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) layout: &'a FileLayout,
    /// Where files appear below `path`; `None` = in `path` itself.
    pub(crate) partition: Option<&'a Partition>,
}

impl DeadMemory {
    /// Opens and locks the memory of this instance in `dir`.
    pub(crate) fn open(fs: &dyn Fs, dir: &Path, names: &Names, uid: u32) -> Result<Found, Error> {
        let path = dir.join(names.memory());
        let failed = |operation, e| Error::io(operation, &path, e);
        let Some(facts) = fs.facts(&path).map_err(|e| failed("look up", e))? else {
            return Ok(Found::Nothing);
        };
        let is_ours = facts.is_file && facts.uid == uid && facts.mode & 0o077 == 0;
        if !is_ours || facts.links != 1 {
            return Ok(Found::Skip(SkipReason::NotOurs));
        }
        let mut file = match fs.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            opened => opened.map_err(|e| failed("open", e))?,
        };
        match scan::lock(&mut *file) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Found::Alive),
            locked => locked.map_err(|e| failed("lock", e))?,
        }
        let now = fs.facts(&path).map_err(|e| failed("look up", e))?;
        let opened = file.facts().map_err(|e| failed("look up", e))?;
        if now.is_none_or(|now| now.id != facts.id || now.id != opened.id) {
            // Another recovery was faster.
            return Ok(Found::Alive);
        }
        match memory_image::read(&mut *file, names).map_err(|e| failed("read", e))? {
            Ok(image) => Ok(Found::Memory(DeadMemory { file, path, image })),
            Err(Unreadable::Version(version)) => Ok(Found::Skip(SkipReason::Version(version))),
            Err(Unreadable::Codec(number)) => Ok(Found::Skip(SkipReason::Codec(number))),
            Err(Unreadable::Short | Unreadable::Damaged) => Ok(Found::Damaged(path)),
        }
    }

    /// The path of the memory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The unfiled records that no recovery has copied to a file yet.
    pub(crate) fn count(&self) -> Count {
        if self.image.salvaged.is_some() { Count::ZERO } else { self.all() }
    }

    /// All unfiled records of the writer.
    fn all(&self) -> Count {
        let count = |part: &Unfiled| Count::new(part.records, (part.to - part.from) as u64);
        self.image.unfiled.iter().map(count).fold(Count::ZERO, Count::saturating_add)
    }

    /// A worker number that the writer did not use. Salvaged temp files have it.
    pub(crate) fn worker(&self) -> usize {
        self.image.layout.workers
    }

    /// Publishes the unfiled records. Returns the file, its length and its records, unless there
    /// were none.
    pub(crate) fn salvage(
        &mut self,
        places: Locations<'_>,
        audience: &mut Audience,
    ) -> Result<Option<(PathBuf, Watermark)>, Error> {
        let count = self.all();
        let stamp = match self.image.salvaged {
            Some(stamp) => stamp,
            None => {
                self.remove_unfinished(places)?;
                if self.image.unfiled.is_empty() {
                    return Ok(None);
                }
                self.copy(places)?
            }
        };
        let Locations { fs, temp, path, names, partition, .. } = places;
        let below = partition.map(|partition| partition.dir(stamp)).transpose()?;
        let below = below.unwrap_or_default();
        let sync = || tree::chain(path, &below).try_for_each(|dir| tree::sync(fs, path, &dir));
        let temp = temp.join(names.temp(stamp, self.worker(), 0));
        let Some(facts) = fs.facts(&temp).map_err(|e| Error::io("look up", &temp, e))? else {
            // The recovery that noted the stamp has renamed it.
            return sync().map(|()| None);
        };
        if !is_ours(&facts, user()) || facts.links != 1 {
            return Err(Error::io("publish", &temp, ErrorKind::InvalidInput.into()));
        }
        step();
        let of = Identity { names, worker: self.worker(), seq: 0, in_one_step: true };
        let (last, whole) =
            (Stamp(facts.modified.max(1)), Watermark { len: facts.len, count, checksum: 0 });
        let mode = facts.mode;
        let first = self.image.since.iter().copied().min().map_or(stamp, |since| since.min(stamp));
        let left_over = LeftOver { temp: &temp, below: &below, mode, first, last, whole };
        let visible = audience.rename(fs, path, of, &left_over)?;
        step();
        sync()?;
        Ok(Some((visible, whole)))
    }

    /// A time in the period in which the unfiled records were accepted. They have no time of their own. A worker that holds
    /// records sees each boundary, so the last period that any of them saw is theirs.
    fn newest(&self) -> Stamp {
        let now = Stamp::next();
        let temps = self.image.entries.iter().filter_map(|entry| entry.temp).map(|temp| temp.stamp);
        let noted = temps.chain(self.image.since.iter().copied());
        noted.filter(|&stamp| stamp < now).max().unwrap_or(now)
    }

    /// Removes temp files of recoveries that were killed before their file was complete.
    fn remove_unfinished(&self, places: Locations<'_>) -> Result<(), Error> {
        let Locations { fs, temp, names, .. } = places;
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

    /// Copies all unfiled records to a temp file, between header and footer, and notes its stamp once it is synced.
    fn copy(&mut self, places: Locations<'_>) -> Result<Stamp, Error> {
        let Locations { fs, temp, names, layout, .. } = places;
        let stamp = self.newest();
        let path = temp.join(names.temp(stamp, self.worker(), 0));
        let mut file =
            fs.create(&path, self.image.layout.mode).map_err(|e| Error::io("create", &path, e))?;
        step();
        let compression = Compression::from_id(self.image.layout.codec).unwrap_or_default();
        let encoder = codec::encoder(compression).map_err(|e| Error::io("compress", &path, e))?;
        let mut copy = Copy { file: &mut *file, path: &path, encoder, end: 0 };
        let mut buffer = Vec::with_capacity(COPY_BYTES);
        buffer.extend_from_slice(&layout.header);
        for nth in 0..self.image.unfiled.len() {
            let mut part = self.image.unfiled[nth];
            while part.from < part.to {
                self.read(&mut part, &mut buffer)?;
                if buffer.len() == COPY_BYTES {
                    copy.write(&mut buffer)?;
                }
            }
        }
        copy.write(&mut buffer)?;
        let footer = &layout.footer[..];
        let checksum = copy.encoder.as_ref().map_or(0, |encoder| encoder.checksum(footer));
        let len = self.all().bytes.saturating_add(layout.header.len() as u64);
        let contents = Contents { len, checksum, footer };
        copy.put(&codec::trailer(compression, &contents).to_vec())?;
        step();
        file.sync().map_err(|e| Error::io("fsync", &path, e))?;
        step();
        let at = self.image.layout.word_at(WriterWord::Salvaged) as u64;
        let word = stamp.0.to_ne_bytes();
        write_all(&mut *self.file, &mut [IoSlice::new(&word)], at)
            .1
            .map_err(|e| Error::io("write", &self.path, e))?;
        self.image.salvaged = Some(stamp);
        Ok(stamp)
    }

    /// Reads the next bytes of `part`, up to a full buffer.
    fn read(&mut self, part: &mut Unfiled, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let (had, len) = (buffer.len(), (part.to - part.from).min(COPY_BYTES - buffer.len()));
        buffer.resize(had + len, 0);
        let at = self.image.layout.byte_at(part.chunk, part.from) as u64;
        let read = read_full(&mut *self.file, &mut buffer[had..], at)
            .map_err(|e| Error::io("read", &self.path, e))?;
        if read < len {
            return Err(Error::io("read", &self.path, ErrorKind::UnexpectedEof.into()));
        }
        part.from += len;
        Ok(())
    }

    /// Removes the memory, once all its records are visible.
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

/// A temp file that is being made.
struct Copy<'a> {
    file: &'a mut dyn FsFile,
    path: &'a Path,
    /// `None` if files hold records unencoded.
    encoder: Option<Box<dyn Encoder>>,
    end: u64,
}

impl Copy<'_> {
    /// Appends the contents of the buffer and empties it.
    fn write(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(encoder) = &mut self.encoder {
            let mut out = Vec::new();
            encoder
                .encode(&[IoSlice::new(buffer)], &mut out)
                .map_err(|e| Error::io("compress", self.path, e))?;
            self.put(&out)?;
        } else {
            self.put(buffer)?;
        }
        buffer.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        write_all(self.file, &mut [IoSlice::new(bytes)], self.end)
            .1
            .map_err(|e| Error::io("write", self.path, e))?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}
