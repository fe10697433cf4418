//! The simulated disk as the writer sees it: the trait, and open files.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::sys::Errno;
use bufferedwriter_testkit::dir::{is_hidden, names_in};

use super::disk::{BLOCK, Chance, Change, Dirty, Disk, Node, SECTOR, SimFs, is_sector};
use crate::base::sync::lock;
use crate::fs::{Facts, Fs, FsFile};
use crate::tests::fs::{dir_facts, read_from};

impl SimFs {
    fn file(&self, path: &Path, node: usize) -> Box<dyn FsFile> {
        let mut disk = lock(&self.0);
        disk.opened += 1;
        let opening = Arc::new(Opening { fs: self.clone(), node, number: disk.opened });
        let (process, path) = (disk.process, path.to_owned());
        Box::new(SimFile { opening, process, path, is_direct: false })
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path, _mode: u32) -> io::Result<Box<dyn FsFile>> {
        let node = self.plain("create", path, |disk| {
            if disk.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            disk.nodes.push(Node::default());
            let node = disk.nodes.len() - 1;
            disk.change(Change::Create(path.to_owned(), node));
            Ok(node)
        })?;
        Ok(self.file(path, node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plain("rename", from, |disk| {
            if !disk.names.contains_key(from) {
                return Err(ErrorKind::NotFound.into());
            }
            if disk.names.contains_key(to) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if !disk.has_dir(to.parent()) {
                return Err(ErrorKind::NotFound.into());
            }
            if !is_hidden(from) {
                disk.breaches.push(format!("renamed a visible file: {from:?}"));
            }
            disk.change(Change::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plain("remove", path, |disk| {
            if !disk.names.contains_key(path) {
                return Err(ErrorKind::NotFound.into());
            }
            if !is_hidden(path) {
                disk.breaches.push(format!("removed a visible file: {path:?}"));
            }
            disk.change(Change::Remove(path.to_owned()));
            Ok(())
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let node = self.plain("open", path, |disk| {
            disk.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
        })?;
        Ok(self.file(path, node))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.plain("exists", path, |disk| Ok(disk.names.contains_key(path)))
    }

    fn facts(&self, path: &Path) -> io::Result<Option<Facts>> {
        self.plain("facts", path, |disk| {
            let dir = disk.dirs.contains(path).then(|| dir_facts(0));
            Ok(disk.names.get(path).map(|node| disk.facts(*node)).or(dir))
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.plain("list", dir, |disk| Ok(names_in(dir, disk.names.keys().chain(&disk.dirs))))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.plain("free_bytes", dir, |_| Ok(u64::MAX))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plain("sync_dir", dir, |disk| {
            disk.sync_names();
            Ok(())
        })
    }

    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir(&self, dir: &Path, _mode: u32) -> io::Result<()> {
        self.plain("create_dir", dir, |disk| {
            if !disk.has_dir(dir.parent()) {
                return Err(ErrorKind::NotFound.into());
            }
            if disk.dirs.contains(dir) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            disk.change(Change::CreateDir(dir.to_owned()));
            Ok(())
        })
    }

    fn canonicalize(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        Some([lock(&self.0).boot; 16])
    }
}

/// One opening of a file; the lock is its, until all clones are gone.
struct Opening {
    fs: SimFs,
    node: usize,
    number: u64,
}

impl Drop for Opening {
    fn drop(&mut self) {
        let held = &mut lock(&self.fs.0).nodes[self.node].lock;
        if *held == Some(self.number) {
            *held = None;
        }
    }
}

struct SimFile {
    opening: Arc<Opening>,
    process: u64,
    path: PathBuf,
    is_direct: bool,
}

impl SimFile {
    fn call<T>(
        &self,
        what: &str,
        act: impl FnOnce(&mut Disk, Chance) -> io::Result<T>,
    ) -> io::Result<T> {
        self.opening.fs.call(what, &self.path, Some(self.process), act)
    }

    /// A change of the file's contents.
    fn change(
        &self,
        what: &str,
        act: impl FnOnce(&mut Disk, Chance) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let node = self.opening.node;
        self.call(what, |disk, chance| {
            let visible = disk.names.iter().any(|(path, of)| *of == node && !is_hidden(path));
            if visible {
                disk.breaches.push(format!("{what} of a visible file: {:?}", self.path));
            }
            act(disk, chance)
        })
    }
}

impl FsFile for SimFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let (node, at, is_direct) = (self.opening.node, offset as usize, self.is_direct);
        let aligned = data.len().is_multiple_of(BLOCK) && at.is_multiple_of(BLOCK);
        if is_direct && !(aligned && slices.len() == 1) {
            return Err(Errno::INVAL.into());
        }
        self.change("write", |disk, chance| {
            let result = match chance {
                Chance::Whole => Ok(data.len()),
                Chance::Part | Chance::Fails(_) => {
                    // Torn anywhere, and a failed write may have done a part.
                    let mut len = disk.random.below(data.len() + 1);
                    if is_sector(at, data.len()) {
                        len = len / SECTOR * SECTOR;
                    }
                    data.truncate(if is_direct { len / BLOCK * BLOCK } else { len });
                    match chance {
                        Chance::Fails(errno) => Err(errno.into()),
                        _ => Ok(data.len()),
                    }
                }
            };
            let len = data.len();
            let node = &mut disk.nodes[node];
            if len > 0 {
                node.bytes.resize(node.bytes.len().max(at + len), 0);
                node.bytes[at..at + len].copy_from_slice(&data);
                node.dirty.push(Dirty::Write(at, data));
            }
            if is_direct && matches!(chance, Chance::Fails(_)) {
                // The block that the device failed in holds nothing any more.
                let end = node.bytes.len().min(at + len + BLOCK);
                let spoilt = at + len..end.max(at + len);
                node.bytes[spoilt.clone()].fill(0);
                node.dirty.push(Dirty::Write(spoilt.start, vec![0; spoilt.len()]));
            }
            result
        })
    }

    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let node = self.opening.node;
        self.call("read_at", |disk, chance| {
            if let Chance::Fails(errno) = chance {
                return Err(errno.into());
            }
            Ok(read_from(&disk.nodes[node].bytes, bytes, offset))
        })
    }

    fn facts(&self) -> io::Result<Facts> {
        let node = self.opening.node;
        self.call("facts", |disk, _| Ok(disk.facts(node)))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let (node, len) = (self.opening.node, len as usize);
        let cut = self.change("set_len", |disk, chance| {
            if let Chance::Fails(errno) = chance {
                return Err(errno.into());
            }
            disk.nodes[node].bytes.resize(len, 0);
            disk.nodes[node].dirty.push(Dirty::Len(len));
            if !disk.lengths_apart {
                disk.journal.push(Change::Len(node));
            }
            Ok(0)
        });
        cut.map(|_| ())
    }

    fn sync(&mut self) -> io::Result<()> {
        let node = self.opening.node;
        self.call("sync", |disk, chance| {
            let lengths_apart = disk.lengths_apart;
            let node = &mut disk.nodes[node];
            if let Chance::Fails(errno) = chance
                && !lengths_apart
            {
                // Dropped, and told once.
                node.dirty.retain(|dirty| matches!(dirty, Dirty::Len(_)));
                return Err(errno.into());
            }
            let dirty = std::mem::take(&mut node.dirty);
            dirty.into_iter().for_each(|dirty| dirty.apply(&mut node.durable));
            if disk.file_sync_covers_names {
                disk.sync_names();
            }
            Ok(())
        })
    }

    fn try_lock(&mut self) -> io::Result<()> {
        let (node, number) = (self.opening.node, self.opening.number);
        self.call("try_lock", |disk, chance| {
            if let Chance::Fails(errno) = chance {
                return Err(errno.into());
            }
            let held = &mut disk.nodes[node].lock;
            if held.is_some_and(|held| held != number) {
                return Err(ErrorKind::WouldBlock.into());
            }
            *held = Some(number);
            Ok(())
        })
    }

    fn go_direct(&mut self) -> io::Result<usize> {
        if !lock(&self.opening.fs.0).has_direct {
            return Err(ErrorKind::Unsupported.into());
        }
        self.is_direct = true;
        Ok(BLOCK)
    }

    fn go_buffered(&mut self) -> io::Result<()> {
        self.is_direct = false;
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        let SimFile { opening, process, path, is_direct } = self;
        let (opening, path) = (opening.clone(), path.clone());
        Ok(Box::new(SimFile { opening, process: *process, path, is_direct: *is_direct }))
    }
}
