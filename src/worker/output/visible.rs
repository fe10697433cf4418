//! How a worker's file becomes visible, and what becomes of a file that cannot.
//!
//! Guarantees: a file is checked before it is renamed, so nothing becomes visible that this worker
//! did not write. Refuses to publish once the worker is given up.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::file::publish::{self, Identity, Refusal};
use crate::file::temp_file::Condition;
use crate::file::tree;
use crate::housekeeping::announcer::Announcer;
use crate::housekeeping::publication::Publication;
use crate::housekeeping::publications::ROOM_WAIT;
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::report::stats::Watermark;
use crate::worker::ledger::FileLoss;
use crate::worker::output::{Output, Target};

/// So many directories may wait for a sync before nothing more is renamed.
const DIRTY_MAX: usize = 64;

impl Output {
    /// Makes the file visible.
    pub(crate) fn publish(&mut self, reason: PublishReason) -> Result<(), Error> {
        self.attempt(|output| {
            if output.announcer.as_ref().is_some_and(Announcer::has_unsynced) {
                // Nobody has heard of the last file yet.
                output.sync_directory()?;
            }
            output.sync()?;
            output.rename(reason)?;
            output.sync_directory()
        })
    }

    /// Publishes a file that has reached its size. If that fails, `held` returns the error.
    pub(super) fn publish_full(&mut self) {
        let _ = if self.has_good() && self.rotation.is_full(self.good().len) {
            self.publish(PublishReason::Size)
        } else {
            self.attempt(Self::sync_directory)
        };
    }

    /// Attempts a step of making files visible, unless an earlier one failed.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.held()?;
        let result = step(self);
        self.held = result.clone().err();
        result
    }

    fn sync_directory(&mut self) -> Result<(), Error> {
        // Those above come first.
        while let Some(dir) = self.dirty.first() {
            tree::sync(&*self.target.fs, &self.target.files.path, dir)?;
            self.dirty.pop_first();
        }
        self.announcer.iter_mut().for_each(Announcer::synced);
        Ok(())
    }

    /// After a failed fsync nothing is added to a file, nor after an encoded file has lost records.
    /// The part that is good becomes visible.
    pub(super) fn discard_closed_file(&mut self) -> Result<(), Error> {
        match &self.file {
            Some(file) if file.is_closed() => self.publish(PublishReason::Size),
            _ => Ok(()),
        }
    }

    fn rename(&mut self, reason: PublishReason) -> Result<(), Error> {
        let written = self.is_written();
        if self.is_visible()? {
            return self.end_rename(reason);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.is_failed() {
            file.roll_back_to_synced()?;
        }
        if file.good().len == 0 {
            // Empty files are not published. But records that still wait may go into this one.
            return if written || file.is_closed() { self.remove() } else { Ok(()) };
        }
        match file.examine_whole(&*self.target.fs)? {
            Condition::Sound => file.seal()?,
            Condition::OutOfReach => self.relocate()?,
            Condition::Removed(error) => return self.lose_file(FileLoss::Removed, error),
            Condition::Damaged(error) => return self.lose_file(FileLoss::Damaged, error),
        }
        self.sync_end()?;
        if self.dirty.len() > DIRTY_MAX {
            self.sync_directory()?;
        }
        let mut renamed = self.rename_below(reason);
        // From `path` no copy leads any further: something is mounted on a partition.
        if matches!(renamed, Err(Refusal::Apart(_))) && self.dir != self.target.files.path {
            self.relocate()?;
            renamed = self.rename_below(reason);
        }
        // If someone removed or moved the file just now, the next attempt finds out which.
        renamed.map_err(Refusal::error)
    }

    /// Syncs what sealing the file has changed since its last fsync. After a failed fsync only the end
    /// of an encoded file is new, and synced alone.
    fn sync_end(&mut self) -> Result<(), Error> {
        let is_durable = self.is_durable();
        match &mut self.file {
            Some(file) if file.is_failed() => file.sync_trailer(),
            Some(file) if is_durable && !file.is_synced() => self.sync(),
            _ => Ok(()),
        }
    }

    /// Renames the file into its partition, which is made if it is missing.
    fn rename_below(&mut self, reason: PublishReason) -> Result<(), Refusal> {
        let below = match (&self.target.partition, &self.file) {
            (Some(partition), Some(file)) => partition.dir(file.id().stamp),
            _ => Ok(PathBuf::new()),
        };
        let below = below.map_err(|error| Refusal::Retry(error, None))?;
        let target = self.target.clone();
        let Target { fs, files, .. } = &*target;
        tree::rename(&**fs, &files.path, &below, files.mode, |dir| self.rename_once(dir, reason))
    }

    /// Renames the file into this directory, unless the closer has given the worker up.
    fn rename_once(&mut self, dir: &Path, reason: PublishReason) -> Result<(), Refusal> {
        let target = self.target.clone();
        let Target { fs, names, .. } = &*target;
        if let (Some(_), Some(announcer)) = (&self.file, &mut self.announcer) {
            announcer.wait_for_room(ROOM_WAIT).map_err(|error| Refusal::Retry(error, None))?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        if !self.ledger.claim(self.claimed(file.whole())) {
            return Ok(());
        }
        let in_one_step = self.shared.arena.is_in_crash_image();
        let of = Identity { names, worker: self.worker, seq: file.id().seq, in_one_step };
        let (temp, mut announcer) = (file.path().to_owned(), self.announcer.take());
        let renamed = publish::rename(&**fs, &temp, dir, of, |visible| {
            let file = self.publication(visible, reason);
            match (&mut announcer, file) {
                (Some(announcer), Some(file)) => announcer.note(&file),
                _ => Ok(()),
            }
        });
        self.announcer = announcer;
        self.ledger.settle(renamed.is_ok());
        if let Err(Refusal::Retry(_, Some(attempted))) = &renamed {
            self.attempted = Some(attempted.clone());
        }
        self.became_visible(&renamed?, reason);
        Ok(())
    }

    /// What somebody hears of the file once it is visible.
    fn publication(&self, visible: &Path, reason: PublishReason) -> Option<Publication> {
        let (file, last) = (self.file.as_ref()?, self.last);
        let relative = visible.strip_prefix(&self.target.files.path).ok()?.to_owned();
        let (Watermark { len: bytes, count: records, .. }, first) = (file.whole(), file.id().stamp);
        Some(Publication { relative, first, last, bytes, records, reason })
    }

    /// Whether the last rename took effect although it returned an error, as happens on network file
    /// systems. Another rename would make the records visible twice.
    fn is_visible(&self) -> Result<bool, Error> {
        let (Some(file), Some(name)) = (&self.file, &self.attempted) else { return Ok(false) };
        let fs = &*self.target.fs;
        if file.has_name(fs, name)? {
            return Ok(true);
        }
        // If the file has a third name, somebody has taken the visible file already.
        Ok(!file.has_name(fs, file.path())? && file.has_any_name()?)
    }

    /// Ends a rename that took effect: the old name may be left.
    fn end_rename(&mut self, reason: PublishReason) -> Result<(), Error> {
        let (Some(file), Some(visible)) = (&self.file, self.attempted.clone()) else {
            return Ok(());
        };
        if self.ledger.claim(self.claimed(file.whole())) {
            let visible = visible.clone();
            if file.has_name(&*self.target.fs, file.path()).unwrap_or(false) {
                let _ = file.remove(&*self.target.fs);
            }
            self.ledger.settle(true);
            self.became_visible(&visible, reason);
        }
        Ok(())
    }

    fn became_visible(&mut self, visible: &Path, reason: PublishReason) {
        self.target.notices.publish(visible, &self.target.names);
        let publication = self.publication(visible, reason);
        if let (Some(announcer), Some(file)) = (&mut self.announcer, publication) {
            announcer.published(file);
        }
        if let (Some(quota), Some(file)) = (self.target.quota.get(), &self.file) {
            quota.wrote(file.whole().len - file.good().len);
        }
        self.progress.published += 1;
        if self.is_durable() {
            // Another worker may have made a directory, and may not have synced its name yet.
            let path = &self.target.files.path;
            let dirs = visible.ancestors().skip(1).take_while(|dir| dir.starts_with(path));
            self.dirty.extend(dirs.map(Path::to_owned));
        }
        self.forget();
    }

    /// Moves the file to the directory of visible files, by a copy from its descriptor. Later files
    /// are written there too: a file system was mounted over one of the directories, or the temp
    /// directory was moved away.
    fn relocate(&mut self) -> Result<(), Error> {
        let is_durable = self.is_durable();
        let Some(file) = &self.file else { return Ok(()) };
        let stamp = self.stamp(file.id().stamp);
        let Some(file) = &mut self.file else { return Ok(()) };
        let Target { fs, files, names, .. } = &*self.target;
        let mut copy = file.copy_to(&**fs, &files.path, files, names, self.worker, stamp)?;
        // The records may have left the memory because an fsync covers them in the old file.
        let ended = copy.seal().and_then(|()| if is_durable { copy.sync() } else { Ok(()) });
        if let Err(error) = ended {
            let _ = copy.remove(&**fs);
            return Err(error);
        }
        self.checkpoint.relocate(&copy);
        self.dir.clone_from(&files.path);
        self.is_direct = false;
        self.ledger.set_temp_file(Some(copy.path().to_owned()));
        self.ledger.set_temp_file_good(copy.good(), false);
        file.hand_over(&mut copy);
        let mut old = std::mem::replace(file, copy);
        match old.examine_whole(&**fs) {
            // The name is still its own.
            Ok(Condition::Sound) => drop(old.remove(&**fs)),
            _ => old.empty(),
        }
        Ok(())
    }

    /// Checks that other programs have left the file as it is. If not, its records are lost. A file
    /// that is visible is not touched any more.
    pub(super) fn examine(&mut self) -> Result<(), Error> {
        if self.is_visible()? {
            return self.end_rename(PublishReason::Size);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        match file.examine(&*self.target.fs)? {
            Condition::Sound | Condition::OutOfReach => Ok(()),
            Condition::Removed(error) => self.lose_file(FileLoss::Removed, error),
            Condition::Damaged(error) => self.lose_file(FileLoss::Damaged, error),
        }
    }

    /// Counts the records in the file as lost, except those that are still in memory. Always
    /// returns an error: the loss.
    fn lose_file(&mut self, loss: FileLoss, error: Error) -> Result<(), Error> {
        // With `Durability::File`, what no fsync covers goes to another file.
        self.queue.rewind();
        let Some(file) = &self.file else { return Err(error) };
        let lost = if self.is_durable() { file.synced() } else { file.good() };
        let lost = self.claimed(lost);
        self.loss = Some(error.clone());
        if self.ledger.lose_file(loss, lost.count, &error) {
            self.checkpoint.lose(lost.count);
            if matches!(loss, FileLoss::Damaged) {
                // What is left stays for whoever wants to look at it. If this fails, it stays under
                // its old name.
                let _ = publish::set_aside(&*self.target.fs, file.path());
            }
            self.forget();
        }
        Err(error)
    }

    /// Removes the file.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        match file.remove(&*self.target.fs) {
            // Something else has removed it already.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.announcer.iter_mut().for_each(Announcer::clear);
        self.file = None;
        self.attempted = None;
        self.ledger.set_temp_file(None);
        self.checkpoint.end();
    }
}
