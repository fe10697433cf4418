//! The disk half of a worker: turns pieces of memory into visible files.
//!
//! Guarantees: pieces go to the file in order, and only whole records become part of it. A piece
//! leaves the queue, and frees its memory, once the file has it; with [`Durability::File`], once a
//! sync covers it. Each step can be tried again after an error. While the file cannot become
//! visible, it keeps growing up to a limit, so that memory is freed meanwhile. Past the page cache,
//! with staging memory, writes are large: pieces wait for each other.
//! Refuses: to publish once the worker is given up.

mod copies;
mod visible;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::base::sync::{Arc, Mutex};
use crate::config::{Compression, Durability, Files, WallClock};
use crate::file::aligned::{PAGE, Staging};
use crate::file::temp_file::TempFile;
use crate::file::usage::Scope;
use crate::fs::Fs;
use crate::housekeeping::announcer::Announcer;
use crate::housekeeping::notices::Notices;
use crate::housekeeping::publications::Publications;
use crate::memory::Shared;
use crate::memory::arena::ChunkId;
use crate::naming::{Names, Partition, Stamp, TempId};
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::report::stats::{Missing, Watermark};
use crate::worker::checkpoint::Checkpoint;
use crate::worker::collect::{Collector, Piece};
use crate::worker::ledger::Ledger;
use crate::worker::queue::{BATCH_BYTES, Queue};
use crate::worker::quota::Quota;
use crate::worker::retry::Progress;
use crate::worker::rotation::Rotation;

/// Fewer bytes of records at once compress badly.
const COMPRESSED_BYTES_MIN: usize = 256 << 10;

/// Where and how a writer's files are made; the same for all its workers.
pub(crate) struct Target {
    /// Comes from the options, so it is std's `Arc`, even if `base/sync.rs` substitutes another.
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    /// With `path` and `temp` resolved: absolute, without links, on one file system.
    pub(crate) files: Files,
    pub(crate) names: Names,
    /// Where files appear below `path`; `None` = in `path` itself.
    pub(crate) partition: Option<Partition>,
    /// Bytes per worker for writes past the page cache. Zero means through it.
    pub(crate) staging_bytes: usize,
    /// Empty until there is a limit.
    pub(crate) quota: OnceLock<Quota>,
    pub(crate) scope: Scope,
    /// Who hears of each file that became visible.
    pub(crate) notices: Arc<Notices>,
    /// Directory of the crash-proof memory, if there is one.
    pub(crate) memory_dir: Option<PathBuf>,
    /// What the file system lacks, as far as is known.
    pub(crate) missing: Arc<Mutex<Missing>>,
    /// `None` if nobody hears of published files.
    pub(crate) publications: Option<Arc<Publications>>,
    pub(crate) wall_clock: WallClock,
}

/// The output of one worker.
pub(crate) struct Output {
    worker: usize,
    /// Where its files are written: the temp directory, or the directory of visible files once no
    /// rename leads there any more.
    dir: PathBuf,
    shared: Arc<Shared>,
    target: Arc<Target>,
    ledger: Arc<Ledger>,
    checkpoint: Checkpoint,
    queue: Queue,
    file: Option<TempFile>,
    /// The name that the file may have since a rename failed.
    attempted: Option<PathBuf>,
    rotation: Rotation,
    /// For files that go past the page cache. Without this memory no file does.
    staging: Staging,
    /// Whether the file, or the next one as far as is known, goes past the page cache.
    is_direct: bool,
    /// Whether files are compressed.
    compresses: bool,
    /// Most bytes of records that are encoded at once, beyond one record. Less than usual while a limit
    /// of a file's size refuses more.
    encoded_max: usize,
    /// Pieces that justify a write past the page cache, or a block of a compressed file; at most
    /// half of the worker's share.
    gather_pieces: usize,
    /// Sequence number of the next file.
    seq: u64,
    /// What the next file's records were accepted after.
    first: Stamp,
    /// Temp files that were begun, also in vain. It tells their names apart.
    begun: u64,
    progress: Progress,
    /// Why the file cannot become visible. No further attempt is made until `try_again` clears
    /// this.
    held: Option<Error>,
    /// Directories that have new names since their last sync: `path`, or a partition and those above
    /// it.
    dirty: BTreeSet<PathBuf>,
    /// `None` if nobody hears of published files.
    announcer: Option<Announcer>,
    /// Whether pieces are copied, and their memory stays: a dump that keeps.
    copies: bool,
    /// Whether the file holds copies.
    has_copies: bool,
    /// Whether these copies should be gone.
    is_stale: bool,
    /// Why the last file was lost.
    loss: Option<Error>,
    /// No record in the file was accepted later. Known only if somebody hears of published files.
    last: Stamp,
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
        let compresses = target.files.compression != Compression::None;
        let gather_bytes =
            staging.capacity().max(if compresses { COMPRESSED_BYTES_MIN } else { 0 });
        let gather_pieces = (gather_bytes / shared.arena.size()).min(share / 2).max(1);
        let announcer = target.publications.clone().map(|all| Announcer::new(all, worker));
        Output {
            worker,
            announcer,
            copies: false,
            has_copies: false,
            is_stale: false,
            loss: None,
            last: Stamp(1),
            dir: target.files.temp.clone(),
            queue: Queue::new(worker, shared.clone()),
            rotation: Rotation::new(&target.files),
            shared,
            target,
            ledger,
            checkpoint,
            file: None,
            attempted: None,
            is_direct: staging.capacity() > 0,
            compresses,
            encoded_max: usize::MAX,
            staging,
            gather_pieces,
            seq: 0,
            first: Stamp(1),
            begun: 0,
            progress: Progress::default(),
            held: None,
            dirty: BTreeSet::new(),
        }
    }

    /// The quota, if there is one.
    pub(crate) fn quota(&self) -> Option<&Quota> {
        self.target.quota.get()
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        self.queue.push(piece);
    }

    /// Whether the file has everything that was pushed.
    pub(crate) fn is_written(&self) -> bool {
        self.queue.waiting() == 0
    }

    /// Whether to wait for more pieces: they would improve the write, and there is room for them.
    pub(crate) fn gathers(&self) -> bool {
        (self.is_direct || self.compresses) && self.queue.waiting() < self.gather_pieces
    }

    /// Whether everything that was pushed is published.
    pub(crate) fn is_clean(&self) -> bool {
        self.queue.is_empty() && self.file.is_none() && self.dirty.is_empty()
    }

    /// The directory in which files are written.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How far the output has come.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether nothing waits: no record for a write, no file for its name, no name for a sync.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty() && !self.has_good() && self.dirty.is_empty()
    }

    /// The next file will hold no record that was accepted before this time. It says in which
    /// partition the file appears.
    pub(crate) fn set_first(&mut self, first: Stamp) {
        self.first = first;
    }

    /// A stamp for a temp file of records since `first`, which no other temp file of this worker has.
    fn stamp(&mut self, first: Stamp) -> Stamp {
        self.begun += 1;
        first.numbered(self.begun)
    }

    /// Allows another attempt to make the file visible.
    pub(crate) fn try_again(&mut self) {
        self.held = None;
    }

    /// The error that keeps the file from becoming visible, if an attempt failed since `try_again`.
    pub(crate) fn held(&self) -> Result<(), Error> {
        self.held.clone().map_or(Ok(()), Err)
    }

    /// The chunks of the pieces that were pushed last.
    pub(crate) fn newest(&self, pieces: usize) -> impl Iterator<Item = ChunkId> {
        self.queue.newest(pieces)
    }

    /// Chunks held.
    pub(crate) fn chunks(&self) -> usize {
        self.queue.chunks()
    }

    /// Whether memory may be freed only once a sync covers its records.
    fn is_durable(&self) -> bool {
        self.target.files.durability != Durability::None
    }

    /// Whether the file has whole records.
    fn has_good(&self) -> bool {
        self.good().len > 0
    }

    /// How far the file has come.
    fn good(&self) -> Watermark {
        self.file.as_ref().map_or(Watermark::ZERO, TempFile::good)
    }

    /// Bytes of records that the file may still take, roughly. Without a file, those of a new one.
    fn room(&self) -> u64 {
        let Watermark { len, count, .. } = self.good();
        let room = self.rotation.room(len, self.held.is_some());
        // More records will be encoded like those before.
        if count.bytes > len { room.saturating_mul(count.bytes) / len } else { room }
    }

    /// Writes everything that was pushed, and publishes each file that has reached its size. That
    /// includes a file that could not be published before, even if there is nothing to write. If
    /// publishing fails, `held` returns the error. It fails this call only once the file may grow
    /// no further.
    pub(crate) fn write(&mut self) -> Result<(), Error> {
        self.discard_closed_file()?;
        self.publish_full();
        while !self.skip_empty() {
            if self.room() == 0 {
                self.held()?;
            }
            self.open()?;
            match self.write_batch() {
                // The file may grow no larger (RLIMIT_FSIZE, or the file system). Another file may
                // take the rest.
                Err(error) if error.kind() == ErrorKind::FileTooLarge && self.has_good() => {
                    self.publish(PublishReason::Size)?;
                    if self.file.is_some() {
                        // The closer has given the worker up, so nothing is published any more.
                        return Err(error);
                    }
                    continue;
                }
                // Nothing but one stream was tried. Fewer records at once may fit.
                Err(error) if error.kind() == ErrorKind::FileTooLarge && self.may_shrink() => {
                    self.remove()?;
                    continue;
                }
                written => written?,
            }
            self.encoded_max = self.encoded_max.saturating_mul(2).max(PAGE);
            self.publish_full();
            if self.chunks() >= self.shared.share as usize {
                // Memory is reused only after a sync covers it, and producers must not wait for
                // that.
                self.sync()?;
            }
        }
        Ok(())
    }

    /// Skips pieces without bytes. Returns whether everything is written then.
    fn skip_empty(&mut self) -> bool {
        self.queue.skip_empty();
        if self.file.is_none() || !self.is_durable() {
            self.release();
        }
        self.is_written()
    }

    fn open(&mut self) -> Result<(), Error> {
        if self.file.is_some() {
            return Ok(());
        }
        // Comes first: without the state file a recovery finds no temp file.
        self.checkpoint.prepare();
        let id = TempId { stamp: self.stamp(self.first), seq: self.seq };
        let Target { fs, files, names, .. } = &*self.target;
        let mut file = TempFile::create(&**fs, &self.dir, files, names, self.worker, id)?;
        self.seq += 1;
        if self.staging.capacity() > 0 {
            file.go_direct();
        }
        self.is_direct = file.is_direct();
        self.ledger.set_temp_file(Some(file.path().to_owned()));
        self.checkpoint.set_copying(self.copies);
        self.checkpoint.begin(&file);
        self.has_copies = self.copies;
        self.file = Some(file);
        Ok(())
    }

    /// Writes a batch of pieces that ends with a whole record, in a sensible size.
    fn write_batch(&mut self) -> Result<(), Error> {
        let room = self.room();
        // Past the page cache: as much as fits one write.
        let fits = if self.is_direct { self.staging.capacity() } else { usize::MAX };
        let fits = fits.min(self.encoded_max);
        if let Some(file) = self.file.as_mut().filter(|_| self.compresses) {
            file.encode(&self.queue.next_batch(fits, room))?;
        }
        // Right before the write, since others may truncate the file at any time.
        self.examine()?;
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.announcer.is_some() {
            self.last = Stamp::read(&self.target.wall_clock);
        }
        let mut slices = self.queue.next_batch(fits, room);
        let (appended, result) = file.append(&mut slices, &mut self.staging);
        drop(slices);
        self.ledger.add_codec_time(file.take_codec_time());
        self.is_direct = file.is_direct();
        if let Some(quota) = self.target.quota.get() {
            quota.wrote(appended.len);
        }
        // Only whole records count.
        let (pieces, count) = self.queue.whole_within(appended.record_bytes);
        file.commit(count);
        self.queue.advance(pieces, file.good());
        let (good, is_direct) = (file.good(), file.is_direct());
        if !self.is_durable() {
            self.release();
        }
        self.note();
        // After the checkpoint: what the statistics have in the file, a recovery finds.
        self.ledger.set_temp_file_good(good, is_direct);
        result
    }

    /// Whether a file that could not take a batch may take a smaller one: encoded records count as a
    /// whole. Halves the batch.
    fn may_shrink(&mut self) -> bool {
        if !self.compresses || self.encoded_max == 0 {
            return false;
        }
        self.encoded_max = self.encoded_max.min(BATCH_BYTES) / 2;
        true
    }

    /// Frees the memory of the pieces that are done.
    fn release(&mut self) {
        if self.copies {
            self.progress.landed += self.queue.pass_done();
            return;
        }
        for (pieces, good) in self.queue.done_batches() {
            self.checkpoint.file(pieces, good);
        }
        self.progress.landed += self.queue.free_done();
    }

    /// With `Durability::File`, forces the file's contents to the disk.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let is_durable = self.is_durable();
        let Some(file) = &self.file else { return Ok(()) };
        let nothing_new = !self.queue.has_done() && file.is_synced();
        if !is_durable || nothing_new || file.is_failed() {
            return Ok(());
        }
        self.examine()?;
        let Some(file) = &mut self.file else { return Ok(()) };
        let synced = file.sync();
        if file.is_failed() {
            // The state of these records on disk is unknown, so all of them go to another file.
            self.queue.rewind();
            self.note();
        }
        synced?;
        self.release();
        self.note();
        Ok(())
    }

    /// Counts the records in memory as lost and frees them, because this error keeps them out of a
    /// file. Records in the file stay, except those that no sync covers. `false` once close has
    /// given up.
    pub(crate) fn lose_memory(&mut self, error: &Error) -> bool {
        let lost = self.queue.count();
        if !self.ledger.lose(lost, error) {
            return false;
        }
        self.checkpoint.pass_over(lost, self.queue.pieces());
        self.drop_uncovered();
        self.queue.free_all();
        self.note();
        true
    }

    /// Takes back what the temp file has of records that do not count as being in it.
    fn drop_uncovered(&mut self) {
        if let Some(file) = &mut self.file {
            file.drop_uncommitted();
            if self.queue.has_done() || file.is_failed() {
                file.drop_unsynced();
                self.is_direct = file.is_direct();
                self.ledger.set_temp_file_good(file.good(), file.is_direct());
            }
        }
    }

    /// Gives up: nothing becomes visible, and no temp file is left if the disk allows. Messages are
    /// dropped, except those that a producer is handing over at this moment. These go with the
    /// arena.
    pub(crate) fn abandon(&mut self, collector: &mut Collector) {
        // No caller is left to receive the error.
        let _ = self.remove();
        collector.close(&self.shared, |piece| self.queue.push(piece));
        self.queue.abandon();
    }

    /// Updates the checkpoint after the file has changed.
    fn note(&mut self) {
        if let Some(file) = &self.file {
            self.checkpoint.update(file);
        }
    }
}
