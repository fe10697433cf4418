//! What is on the disk in memory, and what was done to it that no writer may do.

use std::collections::BTreeMap;
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
    /// Files that ever became visible, and how many of them by the last sync of the directory.
    pub(super) visible: u64,
    pub(super) settled: u64,
    /// Those of the files.
    pub(super) codec: Compression,
    pub(super) envelope: Arc<Envelope>,
    /// What became visible since somebody asked.
    pub(super) appeared: Vec<Vec<u8>>,
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
        if self.nodes[node].visible {
            self.breach("a visible file was renamed", from);
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), node);
        if to.parent() != Some(&shared.path) || is_hidden(to) {
            return Ok(());
        }
        let Node { bytes, synced, visible, .. } = &mut self.nodes[node];
        *visible = true;
        self.visible += 1;
        let (empty, unsynced) = (bytes.is_empty(), *synced < bytes.len());
        self.appeared.push(bytes.clone());
        if empty {
            self.breach("published empty", to);
        }
        if shared.durable && unsynced {
            self.breach("published before it was synced", to);
        }
        Ok(())
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
