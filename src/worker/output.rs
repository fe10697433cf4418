//! From pieces of memory to visible files: the disk half of a worker.
//!
//! Guarantees: pieces go to the file in their order, whole records only become part of it; a piece
//! leaves the queue, and its memory, once the file has it, with [`Durability::File`] once a sync covers
//! it. Each step can be tried again after an error. Refuses to publish once the worker is given up.
//! While the file can't become visible, it grows on, up to a limit, so that memory is free meanwhile.
//! Past the page cache, with staging memory, writes are large: pieces wait for each other.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use crate::base::sync::Arc;
use crate::config::{Durability, Files};
use crate::file::aligned::{PAGE, Staging};
use crate::file::publish::{self, Refusal};
use crate::file::temp_file::TempFile;
use crate::fs::Fs;
use crate::memory::Shared;
use crate::memory::arena::{ChunkId, MESSAGES_MAX};
use crate::naming::Names;
use crate::report::error::Error;
use crate::report::stats::Count;
use crate::worker::checkpoint::Checkpoint;
use crate::worker::collect::{Collector, Piece};
use crate::worker::ledger::{Ledger, Outcome};
use crate::worker::quota::Quota;
use crate::worker::retry::Progress;

/// Bytes of one write: beyond this a larger one is not faster.
const BATCH_BYTES: usize = 1 << 20;
/// Slices of one write: what writev(2) takes at once.
const BATCH_SLICES: usize = 1024;
/// Slices of one piece at most: its messages, and bytes before, between and after them.
const RUNS_MAX: usize = 2 * MESSAGES_MAX + 1;

/// A file that can't become visible grows to so many times its size, and to one write at least. One that grows,
/// not several that wait: a state file names one for each worker, and readers count on a bound.
const OVERSIZE: u64 = 4;

/// Where and how a writer's files are made; the same for all its workers.
pub(crate) struct Target {
    /// Of the options, so std's, whatever `base/sync.rs` may put in its place.
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    /// With `path` and `temp` as they were found: absolute, without links, on one file system.
    pub(crate) files: Files,
    pub(crate) names: Names,
    /// Of each worker, to write past the page cache; zero = through it.
    pub(crate) staging_bytes: usize,
    /// None if it is off.
    pub(crate) quota: Option<Quota>,
    /// Where the memory is, if it outlives the process.
    pub(crate) memory_dir: Option<PathBuf>,
}

/// The output of one worker.
pub(crate) struct Output {
    worker: usize,
    shared: Arc<Shared>,
    target: Arc<Target>,
    ledger: Arc<Ledger>,
    checkpoint: Checkpoint,
    queue: VecDeque<Piece>,
    /// The first so many pieces of the queue are in the file, whole records, but not synced.
    done: usize,
    /// Chunks that are freed when the queue is.
    chunks: usize,
    file: Option<TempFile>,
    /// For files that go past the page cache; without memory none does.
    staging: Staging,
    /// The file, or the next one as far as is known, goes past the page cache.
    is_direct: bool,
    /// So many pieces make a write past the page cache worth it; the worker's share is twice as many.
    gather_pieces: usize,
    /// Number of the next file.
    seq: u64,
    progress: Progress,
    /// Why the file can't become visible: nothing of that is tried before somebody says so.
    held: Option<Error>,
    /// Files were renamed and the directory was not synced since.
    directory_is_dirty: bool,
}

impl Output {
    pub(crate) fn new(
        worker: usize,
        shared: Arc<Shared>,
        target: Arc<Target>,
        ledger: Arc<Ledger>,
        checkpoint: Checkpoint,
        staging: Staging,
    ) -> Self {
        let share = shared.share as usize;
        let gather_pieces = (staging.capacity() / shared.arena.size()).min(share / 2).max(1);
        Output {
            worker,
            shared,
            target,
            ledger,
            checkpoint,
            queue: VecDeque::new(),
            done: 0,
            chunks: 0,
            file: None,
            is_direct: staging.capacity() > 0,
            staging,
            gather_pieces,
            seq: 0,
            progress: Progress::default(),
            held: None,
            directory_is_dirty: false,
        }
    }

    /// The quota, if there is one.
    pub(crate) fn quota(&self) -> Option<&Quota> {
        self.target.quota.as_ref()
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        self.chunks += usize::from(piece.last);
        self.queue.push_back(piece);
    }

    /// All that was pushed is in the file.
    pub(crate) fn is_written(&self) -> bool {
        self.done == self.queue.len()
    }

    /// More pieces would make a better write, and there is room for them.
    pub(crate) fn gathers(&self) -> bool {
        self.is_direct && self.queue.len() - self.done < self.gather_pieces
    }

    /// Nothing that was pushed is unpublished.
    pub(crate) fn is_clean(&self) -> bool {
        self.queue.is_empty() && self.file.is_none() && !self.directory_is_dirty
    }

    /// Where files are written.
    pub(crate) fn dir(&self) -> &Path {
        &self.target.files.temp
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// No record waits for anything, and no name for a sync.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty() && !self.has_good() && !self.directory_is_dirty
    }

    /// What keeps the file from becoming visible is to be tried again.
    pub(crate) fn try_again(&mut self) {
        self.held = None;
    }

    /// What kept the file from becoming visible, since somebody said that it is to be tried.
    pub(crate) fn held(&self) -> Result<(), Error> {
        self.held.clone().map_or(Ok(()), Err)
    }

    /// The chunks of the pieces that were pushed last.
    pub(crate) fn newest(&self, pieces: usize) -> impl Iterator<Item = ChunkId> {
        self.queue.iter().rev().take(pieces).map(|piece| piece.chunk)
    }

    /// Chunks held.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks
    }

    /// Writes all that was pushed, and publishes each file that has its size; also one for which
    /// that failed before, without waiting for more to write. If that fails, `held` tells; it is an error
    /// only once the file may not grow any more.
    pub(crate) fn write(&mut self, collector: &mut Collector) -> Result<(), Error> {
        self.discard_failed_file(collector)?;
        self.publish_full(collector);
        while !self.skip_empty(collector) {
            if self.room() == 0 {
                self.held()?;
            }
            self.open()?;
            match self.write_batch(collector) {
                // No file may be larger (RLIMIT_FSIZE, or the file system): another one may take it.
                Err(error) if error.kind() == ErrorKind::FileTooLarge && self.has_good() => {
                    self.publish(collector)?;
                    if self.file.is_some() {
                        // It was given up: nothing is published any more.
                        return Err(error);
                    }
                    continue;
                }
                written => written?,
            }
            self.publish_full(collector);
            if self.chunks >= self.shared.share as usize {
                // Memory is reused only when a sync covers it; producers must not wait for that.
                self.sync(collector)?;
            }
        }
        Ok(())
    }

    /// Passes pieces of no bytes, which end a lease and need no file. Whether all is written then.
    fn skip_empty(&mut self, collector: &mut Collector) -> bool {
        while self.queue.get(self.done).is_some_and(|piece| piece.len == 0) {
            self.done += 1;
        }
        if self.file.is_none() || self.target.files.durability == Durability::None {
            self.release(collector);
        }
        self.is_written()
    }

    /// There are whole records in the file.
    fn has_good(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.good() > 0)
    }

    /// Bytes that the file may still grow by, roughly; without a file, those of a new one.
    fn room(&self) -> u64 {
        let size = self.target.files.file_size;
        let limit = match self.held {
            Some(_) => size.saturating_mul(OVERSIZE).max(BATCH_BYTES as u64),
            None => size,
        };
        limit.saturating_sub(self.file.as_ref().map_or(0, TempFile::good))
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        let Target { fs, files: Files { temp, mode, .. }, names, .. } = &*self.target;
        // First: a recovery finds no temp file without it.
        self.checkpoint.prepare(&**fs);
        let mut file = TempFile::create(&**fs, temp, names, self.worker, self.seq, *mode)?;
        self.seq += 1;
        if self.staging.capacity() > 0 {
            file.go_direct();
        }
        self.is_direct = file.is_direct();
        self.ledger.set_temp_file(Some(file.path().to_owned()));
        self.checkpoint.begin(&file);
        self.file = Some(file);
        Ok(())
    }

    /// Writes some pieces that end with a whole record, as many as are wise at once.
    fn write_batch(&mut self, collector: &mut Collector) -> Result<(), Error> {
        let room = self.room();
        let Some(file) = &mut self.file else { return Ok(()) };
        // Past the page cache: what fits one write, with the part of a block that comes before.
        let fits = if file.is_direct() { self.staging.capacity() - PAGE } else { usize::MAX };
        let mut slices = Vec::with_capacity(BATCH_SLICES.min(self.queue.len() - self.done));
        let (mut bytes, mut is_whole) = (0, true);
        for piece in self.queue.range(self.done..) {
            if is_whole && bytes > 0 && bytes + piece.len as usize > fits {
                break;
            }
            let slice = |bytes| slices.push(IoSlice::new(bytes));
            // SAFETY: a piece is committed, and its chunk and messages go in `release` only, after
            // the slices are gone.
            unsafe { self.shared.arena.each_run(piece.chunk, piece.range(), slice) };
            bytes += piece.len as usize;
            is_whole = !piece.split;
            let enough = bytes >= BATCH_BYTES || slices.len() + RUNS_MAX > BATCH_SLICES;
            if is_whole && (enough || bytes as u64 >= room) {
                break;
            }
        }
        let (written, result) = file.append(&mut slices, &mut self.staging);
        self.is_direct = file.is_direct();
        if let Some(quota) = &self.target.quota {
            quota.wrote(written);
        }
        self.settle(written);
        if self.target.files.durability == Durability::None {
            self.release(collector);
        }
        self.note();
        result
    }

    /// The file has `written` bytes more of the pieces that are not done; only whole records count.
    fn settle(&mut self, written: u64) {
        let Some(file) = &mut self.file else { return };
        let (mut whole, mut pieces) = (Count::ZERO, 0);
        let mut sum = Count::ZERO;
        for (i, piece) in self.queue.range(self.done..).enumerate() {
            sum += piece.count();
            if sum.bytes > written {
                break;
            }
            if !piece.split {
                (whole, pieces) = (sum, i + 1);
            }
        }
        file.commit(whole);
        self.done += pieces;
        self.ledger.set_temp_file_count(file.count(), file.is_direct());
    }

    /// The pieces that are done need no memory any more.
    fn release(&mut self, collector: &mut Collector) {
        let landed = self.queue.range(..self.done).filter(|piece| piece.len > 0).count();
        if landed > 0 {
            self.checkpoint.file(self.queue.range(..self.done));
        }
        self.progress.landed += landed as u64;
        self.free(collector);
    }

    /// Drops the pieces that are done with their messages, and frees their chunks.
    fn free(&mut self, collector: &mut Collector) {
        if self.done == 0 {
            return;
        }
        self.drop_messages(self.done);
        let done = self.queue.drain(..std::mem::take(&mut self.done));
        let chunks = &mut self.chunks;
        let freed = done.filter(|piece| piece.last).map(|piece| {
            *chunks -= 1;
            piece.chunk
        });
        collector.free(&self.shared, freed);
        self.shared.mailboxes[self.worker].set_backlog(self.chunks);
    }

    /// Drops the messages of the first pieces. This is foreign code: it may even write to this writer.
    fn drop_messages(&self, pieces: usize) {
        for piece in self.queue.range(..pieces) {
            self.shared.arena.drop_messages(piece.chunk, piece.range());
        }
    }

    /// With `Durability::File`, forces what is in the file to the disk.
    pub(crate) fn sync(&mut self, collector: &mut Collector) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let nothing_new = self.done == 0 && file.is_synced();
        if self.target.files.durability == Durability::None || nothing_new || file.is_failed() {
            return Ok(());
        }
        let synced = file.sync();
        if file.is_failed() {
            // Nobody knows what became of it: all of it goes to another file.
            self.done = 0;
            self.note();
        }
        synced?;
        self.release(collector);
        self.note();
        Ok(())
    }

    /// Counts as lost what is in memory, which can't get into a file because of this error, and frees it.
    /// What is in the file stays there, but for what no sync covers. `false` once close has given up.
    pub(crate) fn give_up(&mut self, collector: &mut Collector, error: &Error) -> bool {
        let lost = self.queue.iter().map(Piece::count).sum();
        if !self.ledger.lose(lost, error) {
            return false;
        }
        self.checkpoint.give_up(lost, self.queue.iter());
        if let Some(file) = self.file.as_mut().filter(|file| self.done > 0 || file.is_failed()) {
            file.drop_unsynced();
            self.is_direct = file.is_direct();
            self.ledger.set_temp_file_count(file.count(), file.is_direct());
        }
        self.done = self.queue.len();
        self.free(collector);
        self.note();
        true
    }

    /// Makes what is in the file visible.
    pub(crate) fn publish(&mut self, collector: &mut Collector) -> Result<(), Error> {
        self.attempt(|output| {
            output.sync(collector)?;
            output.rename()?;
            output.sync_directory()
        })
    }

    /// If that fails, `held` tells.
    fn publish_full(&mut self, collector: &mut Collector) {
        let full = |file: &TempFile| file.good() >= self.target.files.file_size.max(1);
        let _ = if self.file.as_ref().is_some_and(full) {
            self.publish(collector)
        } else {
            self.attempt(Self::sync_directory)
        };
    }

    /// Tries a step of making files visible, unless one failed before.
    fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.held()?;
        let result = step(self);
        self.held = result.clone().err();
        result
    }

    fn sync_directory(&mut self) -> Result<(), Error> {
        if self.directory_is_dirty {
            publish::sync_dir(&*self.target.fs, &self.target.files.path)?;
            self.directory_is_dirty = false;
        }
        Ok(())
    }

    /// After a failed fsync nothing is added to a file: what was synced of it before becomes
    /// visible.
    fn discard_failed_file(&mut self, collector: &mut Collector) -> Result<(), Error> {
        match &self.file {
            Some(file) if file.is_failed() => self.publish(collector),
            _ => Ok(()),
        }
    }

    fn rename(&mut self) -> Result<(), Error> {
        let written = self.is_written();
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.is_failed() {
            file.roll_back_to_synced()?;
        }
        if file.good() == 0 {
            // Nothing empty is published; but what is still to be written may go into it.
            return if written || file.is_failed() { self.remove() } else { Ok(()) };
        }
        file.seal()?;
        let Target { fs, files: Files { path, .. }, names, .. } = &*self.target;
        if !self.ledger.claim(file.count()) {
            return Ok(());
        }
        self.checkpoint.set_publishing(true);
        let (seq, in_one_step) = (file.id().seq, self.shared.arena.is_in_crash_image());
        let renamed =
            publish::rename(&**fs, file.path(), path, names, self.worker, seq, in_one_step);
        let (outcome, result) = match renamed {
            Ok(_) => (Outcome::Written, Ok(())),
            Err(Refusal::Gone(error)) => (Outcome::Lost(error.clone()), Err(error)),
            Err(Refusal::Retry(error)) => (Outcome::Unchanged, Err(error)),
        };
        self.progress.published += u64::from(matches!(outcome, Outcome::Written));
        if matches!(outcome, Outcome::Lost(_)) {
            self.checkpoint.lose(file.count());
        }
        let over = !matches!(outcome, Outcome::Unchanged);
        self.ledger.settle(outcome);
        if !over {
            self.checkpoint.set_publishing(false);
        } else {
            self.directory_is_dirty |= self.target.files.durability == Durability::File;
            self.forget();
        }
        result
    }

    /// Gives up: nothing becomes visible, and no temp file is left if the disk allows it. Messages
    /// are dropped, but for those that a producer is handing over just now: they go with the arena.
    pub(crate) fn abandon(&mut self, collector: &mut Collector) {
        // The error would have nobody left to hear it.
        let _ = self.remove();
        let shared = self.shared.clone();
        collector.close(&shared, |piece| self.push(piece));
        self.drop_messages(self.queue.len());
    }

    /// Removes the file.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        match file.remove(&*self.target.fs) {
            // Somebody was quicker.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed?,
        }
        self.forget();
        Ok(())
    }

    /// After its file has changed.
    fn note(&mut self) {
        if let Some(file) = &self.file {
            self.checkpoint.update(file);
        }
    }

    fn forget(&mut self) {
        self.file = None;
        self.ledger.set_temp_file(None);
        self.checkpoint.end();
    }
}
