//! Finished files as they come: by list, by the system's news, by name.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::shipper::Until;
use crate::shipper::known::State;
use crate::shipper::queue::Waiting;
use crate::shipper::round::Round;
use crate::source::watch::News;
use crate::source::{Candidate, scan};

/// Where some directory can't be watched, they are listed as often as this.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(1);
/// How often the manifest is read on, at most.
const MANIFEST_EVERY: Duration = Duration::from_secs(1);

impl Round {
    /// Lists everything, or the files that were named.
    pub(super) fn list(&mut self) {
        let config = &self.shared.config;
        let every = if self.watch.is_partial() { RESCAN_UNWATCHED } else { config.rescan };
        self.rescan_at = Instant::now() + every.min(config.rescan);
        if self.until == Until::Once && self.deadline.is_none() {
            // Only what was there at the start. An hour is for ever here.
            self.rescan_at += Duration::from_secs(3600);
        }
        self.has_more = false;
        self.is_fresh = true;
        if let Some(only) = self.only.take() {
            for path in only {
                match Candidate::look(&self.shared.config.from, path.clone()) {
                    Some(file) => self.found(file, true),
                    None => self.leave(path, "it is not there"),
                }
            }
            self.only = Some(Vec::new());
            self.read_manifest();
            return;
        }
        self.remove_emptied();
        self.known.begin();
        self.report.error = None;
        if self.list_below(Path::new("")) {
            self.known.end();
            self.prune();
        }
        self.is_first_list = false;
        self.read_manifest();
    }

    /// Whether the list is complete.
    pub(super) fn list_below(&mut self, below: &Path) -> bool {
        let shared = Rc::clone(&self.shared);
        let follows = self.until == Until::Stopped;
        let mut watch = std::mem::take(&mut self.watch);
        let mut on_dir = |dir: &Path| {
            if follows {
                watch.add(&shared.config.from, dir);
            }
        };
        let result =
            scan::walk(&shared.config.from, below, &mut on_dir, &mut |file| self.found(file, true));
        self.watch = watch;
        let is_complete = result.is_ok();
        if let Err(error) = result {
            self.report.error = Some(error);
        }
        is_complete
    }

    /// A file is there.
    pub(super) fn found(&mut self, file: Candidate, asks_first: bool) {
        let is_wanted = match self.known.see(&file.path) {
            None => true,
            Some(State::Done) => {
                self.stats.remembered += u64::from(self.is_first_list);
                self.deletes(&file)
            }
            Some(State::Waits | State::GivenUp) => false,
        };
        if !is_wanted {
            return;
        }
        if let Some(plan) = self.planned.get(&file.path).cloned() {
            self.is_fresh = false;
            let is_again = self.known.get(&file.path) == Some(State::Done);
            return self.adopt(&plan, is_again);
        }
        let is_again = self.known.get(&file.path) == Some(State::Done);
        self.is_fresh = false;
        self.known.set(&file.path, State::Waits);
        self.count(file.bytes);
        let may_join = self.may_join(&file);
        if may_join && !asks_first && !is_again {
            return self.wait_for_others(file);
        }
        let asks_first = asks_first || is_again;
        let waiting = Waiting { asks_first, is_again, may_join, ..Waiting::new(file) };
        self.push(waiting);
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        let Some(newest) = self.queue.push(waiting) else { return };
        self.has_more = true;
        self.unbind(&newest);
        for file in newest.files() {
            self.known.forget(&file.path);
            self.uncount(file.bytes);
        }
    }

    pub(super) fn hear(&mut self, news: Vec<News>) {
        for one in news {
            let path = match one {
                News::Name(path) => path,
                News::Missed => {
                    self.rescan_at = Instant::now();
                    continue;
                }
            };
            let from = &self.shared.config.from;
            let name = path.file_name().unwrap_or_default();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if let Some(file) = Candidate::look(from, path.clone()) {
                self.found(file, false);
            } else if !is_hidden
                && from.join(&path).symlink_metadata().is_ok_and(|facts| facts.is_dir())
            {
                self.list_below(&path);
            }
        }
        self.read_manifest();
    }

    /// Files that are gone need no line in the journal. Those that did not fit are still there.
    fn prune(&mut self) {
        if self.has_more {
            return;
        }
        let known = &self.known;
        let pruned = self.shared.journal.borrow_mut().prune(|file| known.get(file).is_some());
        if let Err(error) = pruned {
            self.warn(format!("shorten the journal: {error}"));
        }
    }

    /// Partitions without files. A writer that comes back makes them again.
    pub(super) fn remove_emptied(&mut self) {
        for dir in std::mem::take(&mut self.emptied) {
            for dir in dir.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
                // One that is not empty stays, and so do those above it.
                if fs::remove_dir(self.shared.config.from.join(dir)).is_err() {
                    break;
                }
            }
        }
    }

    /// New lines of the manifest, once a second at most.
    fn read_manifest(&mut self) {
        let Some(manifest) = &mut self.manifest else { return };
        let now = Instant::now();
        if self.manifest_read.is_some_and(|read| now.duration_since(read) < MANIFEST_EVERY) {
            return;
        }
        self.manifest_read = Some(now);
        let known = &self.known;
        let result = manifest.refresh(|file| known.get(file) == Some(State::Waits));
        if let Err(error) = result {
            self.warn(format!("read the manifest: {error}"));
        }
    }
}
