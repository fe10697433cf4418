//! What is on the disk in memory, and what was done to it that no writer may do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bufferedwriter_testkit::dir::is_hidden;

use super::Shared;
use super::faults::Faults;
use crate::config::{Compression, Envelope};
use crate::fs::Facts;
use crate::tests::fs::facts_of;

#[derive(Default)]
pub(super) struct Disk {
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) nodes: Vec<Node>,
    /// Names of files that somebody removed while they were written.
    pub(super) stolen: BTreeMap<PathBuf, usize>,
    pub(super) faults: Faults,
    /// Nothing is free, as `free_bytes` says; writes find room all the same.
    pub(super) is_short: bool,
    /// Below that of visible files.
    pub(super) dirs: BTreeSet<PathBuf>,
    /// Those in which a directory was made since their last sync.
    grown: BTreeSet<PathBuf>,
    /// Files that ever became visible, and how many of them, in their order, no sync of a directory
    /// is missing for.
    pub(super) visible: u64,
    pub(super) settled: u64,
    /// The directories that must be synced for the others.
    unsettled: VecDeque<BTreeSet<PathBuf>>,
    /// Those of the files.
    pub(super) codec: Compression,
    pub(super) envelope: Arc<Envelope>,
    /// What became visible since somebody asked, and where.
    pub(super) appeared: Vec<(PathBuf, Vec<u8>)>,
    /// What was in stolen files that their writer could not publish, since somebody asked.
    pub(super) vanished: Vec<Vec<u8>>,
    pub(super) breaches: Vec<String>,
}

#[derive(Default)]
pub(super) struct Node {
    pub(super) bytes: Vec<u8>,
    /// The number of bytes that survive a failed fsync.
    pub(super) synced: usize,
    pub(super) visible: bool,
    /// Its writer was told that it is not there.
    pub(super) missed: bool,
}

impl Disk {
    pub(super) fn breach(&mut self, what: &str, path: &Path) {
        self.breaches.push(format!("{what}: {}", path.display()));
    }

    pub(super) fn facts(&self, node: usize) -> Facts {
        let links = self.names.values().filter(|&&named| named == node).count() as u64;
        Facts { links, ..facts_of(self.nodes[node].bytes.len(), node) }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        if self.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if !is_hidden(path) {
            self.breach("created in sight", path);
        }
        self.nodes.push(Node::default());
        self.names.insert(path.to_owned(), self.nodes.len() - 1);
        Ok(self.nodes.len() - 1)
    }

    pub(super) fn rename(&mut self, shared: &Shared, from: &Path, to: &Path) -> io::Result<()> {
        let Some(&node) = self.names.get(from) else {
            return Err(ErrorKind::NotFound.into());
        };
        if shared.crossing && from.parent() != to.parent() {
            return Err(ErrorKind::CrossesDevices.into());
        }
        if self.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let parent = to.parent().unwrap_or(to);
        if parent.starts_with(&shared.path) && parent != shared.path && !self.dirs.contains(parent)
        {
            return Err(ErrorKind::NotFound.into());
        }
        if self.nodes[node].visible {
            self.breach("a visible file was renamed", from);
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), node);
        if !parent.starts_with(&shared.path) || is_hidden(to) {
            return Ok(());
        }
        let above = parent.ancestors().filter(|dir| *dir == parent || self.grown.contains(*dir));
        self.unsettled.push_back(above.map(Path::to_owned).collect());
        let Node { bytes, synced, visible, .. } = &mut self.nodes[node];
        *visible = true;
        self.visible += 1;
        let (empty, unsynced) = (bytes.is_empty(), *synced < bytes.len());
        self.appeared.push((parent.to_owned(), bytes.clone()));
        if empty {
            self.breach("published empty", to);
        }
        if shared.durable && unsynced {
            self.breach("published before it was synced", to);
        }
        Ok(())
    }

    pub(super) fn create_dir(&mut self, shared: &Shared, dir: &Path) -> io::Result<()> {
        let parent = dir.parent().unwrap_or(dir);
        if parent != shared.path && !self.dirs.contains(parent) {
            return Err(ErrorKind::NotFound.into());
        }
        if !self.dirs.insert(dir.to_owned()) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.grown.insert(parent.to_owned());
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) {
        self.grown.remove(dir);
        self.unsettled.iter_mut().for_each(|dirs| {
            dirs.remove(dir);
        });
        while self.unsettled.front().is_some_and(BTreeSet::is_empty) {
            self.unsettled.pop_front();
            self.settled += 1;
        }
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.names.remove(path).ok_or(ErrorKind::NotFound)?;
        if self.nodes[node].visible {
            self.breach("a visible file was removed", path);
        }
        Ok(())
    }

    /// Somebody who tidies up removes a temp file.
    pub(super) fn steal(&mut self, temp: &Path) {
        if let Some(node) = self.names.remove(temp) {
            self.stolen.insert(temp.to_owned(), node);
        }
    }
}
