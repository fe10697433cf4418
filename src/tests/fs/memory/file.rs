//! An open file of the file system in memory.

use std::io::{self, IoSlice};
use std::path::PathBuf;

use crate::base::sys::Errno;

use super::MemoryFs;
use super::disk::Node;
use super::faults::DiskFault;
use crate::base::sync::lock;
use crate::fs::{Facts, FsFile};
use crate::tests::fs::hooked::{Op, is_temp};
use crate::tests::fs::read_from;

/// Of direct I/O; small, so that records of a few bytes cross it.
const BLOCK: usize = 16;

/// An open file. Nobody else ever opens it, so its lock is always free.
pub(super) struct MemoryFile {
    pub(super) fs: MemoryFs,
    pub(super) path: PathBuf,
    pub(super) node: usize,
    pub(super) is_direct: bool,
}

impl MemoryFile {
    fn call<T>(
        &self,
        op: Op,
        bytes: usize,
        act: impl FnOnce(&mut Node, Option<DiskFault>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.fs.call(op, is_temp(&self.path), bytes, |disk, fault| {
            if disk.nodes[self.node].visible {
                disk.breach(&format!("{op:?} of a visible file"), &self.path);
            }
            act(&mut disk.nodes[self.node], fault)
        })
    }
}

impl FsFile for MemoryFile {
    fn write_at(&mut self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let asked: usize = slices.iter().map(|slice| slice.len()).sum();
        let aligned = |at: usize| at.is_multiple_of(BLOCK);
        if self.is_direct && !(aligned(asked) && aligned(offset as usize) && slices.len() == 1) {
            return Err(Errno::INVAL.into());
        }
        self.call(Op::Write, asked, |node, fault| {
            let (len, error) = match fault {
                Some(DiskFault::Error(errno, torn)) => (torn.min(asked), Some(errno)),
                Some(DiskFault::Short(len)) => (len.min(asked), None),
                _ => (asked, None),
            };
            let (from, to) = (offset as usize, offset as usize + len);
            node.bytes.resize(node.bytes.len().max(to), 0);
            // What is written over with the same bytes is as safe as before.
            let mut at = from;
            for slice in slices {
                let part = &slice[..slice.len().min(to - at)];
                let there = &mut node.bytes[at..at + part.len()];
                if let Some(i) = there.iter().zip(part).position(|(old, new)| old != new) {
                    node.synced = node.synced.min(at + i);
                    there.copy_from_slice(part);
                }
                at += part.len();
            }
            if self.is_direct && error == Some(Errno::IO) {
                // The block that could not be written holds nothing any more.
                let block = to.min(node.bytes.len())..(from + BLOCK).min(node.bytes.len());
                node.synced = node.synced.min(block.start);
                node.bytes[block.start..block.end.max(block.start)].fill(0);
            }
            node.synced = node.synced.min(node.bytes.len());
            error.map_or(Ok(len), |errno| Err(errno.into()))
        })
    }

    fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.call(Op::Read, is_temp(&self.path), 0, |disk, _| {
            Ok(read_from(&disk.nodes[self.node].bytes, bytes, offset))
        })
    }

    fn facts(&self) -> io::Result<Facts> {
        Ok(lock(&self.fs.0.disk).facts(self.node))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.call(Op::SetLen, 0, |node, _| {
            node.bytes.resize(len as usize, 0);
            node.synced = node.synced.min(node.bytes.len());
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.call(Op::Sync, 0, |node, fault| {
            if let Some(DiskFault::Error(errno, _)) = fault {
                // The system drops what it could not write, and says so only once.
                node.bytes[node.synced..].fill(0);
                return Err(errno.into());
            }
            node.synced = node.bytes.len();
            Ok(())
        })
    }

    fn try_lock(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn go_direct(&mut self) -> io::Result<usize> {
        self.is_direct = true;
        Ok(BLOCK)
    }

    fn go_buffered(&mut self) -> io::Result<()> {
        self.is_direct = false;
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Box<dyn FsFile>> {
        let MemoryFile { fs, path, node, is_direct } = self;
        let (fs, path, node, is_direct) = (fs.clone(), path.clone(), *node, *is_direct);
        Ok(Box::new(MemoryFile { fs, path, node, is_direct }))
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        // It may hang. An error would change nothing.
        let _ = self.fs.call(Op::Close, is_temp(&self.path), 0, |_, _| Ok(()));
        let mut disk = lock(&self.fs.0.disk);
        if disk.nodes[self.node].missed {
            let bytes = std::mem::take(&mut disk.nodes[self.node].bytes);
            disk.vanished.push(bytes);
        }
    }
}
