//! The files that this writer publishes, on their way from the workers to the manifest and the
//! hook.
//!
//! Guarantees: the files of one worker are listed, and the hook is called for them, in their order.
//! The hook runs on a thread of its own, while nothing is held, and its panics are caught. The
//! memory that waiting files take is bounded: see `queue.rs`. Refuses another
//! file of a worker while [`RING_ENTRIES`] of its files are unlisted.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::latch::wait_on;
use crate::base::sync::{Arc, Condvar, Mutex, MutexGuard, lock, try_lock};
use crate::base::thread::{Backoff, spawn};
use crate::config::Publishing;
use crate::fs::Fs;
use crate::housekeeping::journal::format::RING_ENTRIES;
use crate::housekeeping::journal::{Journal, Ring};
use crate::housekeeping::lister::{Lister, Listing};
use crate::housekeeping::manifest::Manifest;
use crate::housekeeping::publication::Publication;
pub(crate) use crate::housekeeping::queue::Batch;
use crate::housekeeping::queue::{Call, Queue, RingState};
use crate::naming::{Names, Stamp};
use crate::report::error::Error;
use crate::report::published::{HookStall, ManifestStall, OnPublish};
use crate::report::stats::PublishStats;

/// How long a worker waits for its ring before it counts that as a failure.
pub(crate) const ROOM_WAIT: Duration = Duration::from_millis(20);
/// Pauses between two tries: they double from the first to the last.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
const MANIFEST_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a close waits for a call that lists or acknowledges a file.
const LISTER_WAIT: Duration = Duration::from_millis(50);
/// A call of the hook that takes longer is reported.
const HANG: Duration = Duration::from_secs(1);

/// Shared by workers, the recovery, and the two threads that list and that call the hook.
pub(crate) struct Publications {
    /// From the options, hence the `Arc` of std.
    pub(super) fs: std::sync::Arc<dyn Fs>,
    /// Where files appear, and the device and inode of that directory.
    pub(super) dir: PathBuf,
    pub(super) dir_id: Option<(u64, u64)>,
    has_hook: bool,
    /// It may be replaced.
    pub(super) hook: Mutex<OnPublish>,
    /// The manifest, to be read.
    reader: Option<Manifest>,
    /// Taken before `queue` if both are.
    pub(super) lister: Mutex<Lister>,
    /// Another handle of the journal, for rings: whoever lists may hold the lister for long.
    door: Mutex<Option<Ring>>,
    pub(super) queue: Mutex<Queue>,
    pub(super) told: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Publications {
    /// `None` if nobody wants to hear of published files.
    pub(crate) fn new(
        fs: &std::sync::Arc<dyn Fs>,
        dir: &Path,
        wanted: Publishing,
        mode: u32,
        is_durable: bool,
        workers: usize,
    ) -> Result<Option<Self>, Error> {
        let Publishing { on_publish, manifest } = wanted;
        if on_publish.0.is_none() && manifest.is_none() {
            return Ok(None);
        }
        let manifest = manifest.map(|path| Manifest::new(path, mode, is_durable));
        if let Some(manifest) = &manifest {
            manifest.probe(&**fs)?;
        }
        let reader = manifest.clone();
        // The last ring is for the recovery.
        let rings = workers + 1;
        let lister = Lister {
            fs: fs.clone(),
            manifest,
            journal: None,
            has_hook: on_publish.0.is_some(),
            is_durable,
            listed: vec![0; rings],
        };
        let dir_id = fs.facts(dir).ok().flatten().map(|facts| facts.id);
        Ok(Some(Publications {
            fs: fs.clone(),
            dir: dir.to_owned(),
            dir_id,
            has_hook: on_publish.0.is_some(),
            hook: Mutex::new(on_publish),
            reader,
            lister: Mutex::new(lister),
            door: Mutex::default(),
            queue: Mutex::new(Queue {
                rings: vec![RingState::default(); rings],
                ..Queue::default()
            }),
            told: Condvar::new(),
            threads: Mutex::default(),
        }))
    }

    /// Creates the journal in the directory of temp files.
    pub(crate) fn make(&self, temp: &Path, names: &Names, has_locks: bool) -> Result<(), Error> {
        let mut lister = lock(&self.lister);
        if lister.journal.is_none() {
            let (fs, rings) = (lister.fs.clone(), lister.listed.len());
            let journal = {
                let has_hook = lister.has_hook;
                Journal::create(&*fs, temp, names, &self.dir, rings, has_hook, has_locks)?
            };
            *lock(&self.door) = Some(journal.ring(0)?);
            lister.journal = Some(journal);
        }
        Ok(())
    }

    /// Starts the threads. `enter` is called on each of them first.
    pub(crate) fn start(this: &Arc<Self>, enter: fn(u64), id: u64) -> Result<(), Error> {
        let run = |name: &str, body: fn(&Publications)| {
            let publications = this.clone();
            let thread = spawn(name, move || {
                enter(id);
                body(&publications);
            });
            thread.map_err(|e| Error::io("start a thread for", &this.dir, e))
        };
        let mut threads = lock(&this.threads);
        threads.push(run("bw-list", Publications::run_lister)?);
        if this.has_hook {
            threads.push(run("bw-hook", Publications::run_hook)?);
        }
        Ok(())
    }

    pub(super) fn ring(&self, number: usize) -> Result<Ring, Error> {
        match &*lock(&self.door) {
            Some(ring) => ring.other(number),
            None => {
                Err(Error::io("note a file of", &self.dir, std::io::ErrorKind::NotFound.into()))
            }
        }
    }

    /// Waits for a while until the ring has room. The error says what the listing waits for.
    pub(super) fn wait_for_room(
        &self,
        ring: usize,
        next: u64,
        wait: Duration,
    ) -> Result<(), Error> {
        // Without the thread that lists, waiting is of no use.
        let wait = if lock(&self.threads).is_empty() { Duration::ZERO } else { wait };
        let deadline = Instant::now() + wait;
        let mut queue = lock(&self.queue);
        loop {
            if queue.is_closed {
                // The recovery stops here. The next one goes on.
                drop(queue);
                break;
            }
            let state = &mut queue.rings[ring];
            if next - state.listed <= RING_ENTRIES as u64 {
                // An earlier file may wait for the sync of its directory.
                state.begun.get_or_insert_with(Stamp::next);
                return Ok(());
            }
            match wait_on(&self.told, queue, Some(deadline)) {
                Some(woken) => queue = woken,
                None => break,
            }
        }
        let hangs = || Error::io("list files of", &self.dir, std::io::ErrorKind::TimedOut.into());
        Err(lock(&self.queue).manifest.as_ref().map_or_else(hangs, |stall| stall.error.clone()))
    }

    /// Takes files of a ring. `is_begun`: another one is about to become visible.
    pub(super) fn push(&self, ring: usize, listings: Vec<Listing>, is_begun: bool) {
        let mut queue = lock(&self.queue);
        if !is_begun {
            queue.rings[ring].begun = None;
        }
        queue.waiting.extend(listings);
        self.told.notify_all();
    }

    pub(super) fn no_file(&self, ring: usize) {
        lock(&self.queue).rings[ring].begun = None;
    }

    /// A recovery: which of these files of a dead writer the manifest has. It holds nothing up.
    pub(crate) fn listed_before(&self, files: &[&Publication]) -> Result<Vec<bool>, Error> {
        let Some(manifest) = &self.reader else { return Ok(vec![false; files.len()]) };
        let fs = lock(&self.lister).fs.clone();
        let ids: Vec<_> = files.iter().map(|file| file.id().unwrap_or_default()).collect();
        manifest.which(&*fs, &ids)
    }

    /// A recovery: lists a file of a dead writer, which the manifest may have already.
    pub(crate) fn adopt(&self, file: &Publication, in_manifest: bool) -> Result<(), Error> {
        let mut lister = lock(&self.lister);
        self.check_open()?;
        if lister.adopt(file, in_manifest)? {
            self.listed(&lister, &[file]);
            return Ok(());
        }
        drop(lister);
        self.tell_at_once(file)
    }

    /// Has the hook called for a file, and waits for it: no journal of ours could tell a crash in between from one
    /// after it, but the dead writer's can. So a disk that is full of files for the hook gets room again.
    fn tell_at_once(&self, file: &Publication) -> Result<(), Error> {
        let mut queue = lock(&self.queue);
        queue.stats.listed += 1;
        queue.urgent = Some(file.clone());
        self.told.notify_all();
        while queue.urgent.is_some() {
            if queue.ends {
                // The hook may be running.
                return Err(self.interrupted());
            }
            queue = wait_on(&self.told, queue, None).expect("without a deadline");
        }
        Ok(())
    }

    /// The error of whoever wants to list a file after the end.
    fn check_open(&self) -> Result<(), Error> {
        if lock(&self.queue).is_closed { Err(self.interrupted()) } else { Ok(()) }
    }

    fn interrupted(&self) -> Error {
        Error::io("list files of", &self.dir, ErrorKind::Interrupted.into())
    }

    /// A recovery: calls the hook for a file that a dead writer had listed. `false` without a hook.
    pub(crate) fn hand_on(&self, file: &Publication) -> Result<bool, Error> {
        if self.has_hook() {
            self.adopt(file, true)?;
        }
        Ok(self.has_hook())
    }

    /// Tells the hook's thread of listed files.
    fn listed(&self, lister: &Lister, files: &[&Publication]) {
        lock(&self.queue).add(lister.has_hook, files);
        self.told.notify_all();
    }

    /// The thread that lists.
    fn run_lister(&self) {
        let mut batch = Batch::default();
        while self.wait_for_files(&mut batch) {
            let mut pause = PAUSE_MIN;
            while !self.list(&mut batch) {
                // After a close that gave up, the next writer lists what the journal has.
                if !self.rest(pause) {
                    return;
                }
                pause = (pause * 2).min(MANIFEST_PAUSE_MAX);
            }
        }
    }

    /// Waits for files to list. `false` once no more come.
    fn wait_for_files(&self, batch: &mut Batch) -> bool {
        let mut queue = lock(&self.queue);
        while !queue.fill(batch) {
            if queue.ends {
                return false;
            }
            queue = wait_on(&self.told, queue, None).expect("without a deadline");
        }
        true
    }

    /// Tries to list a batch. Returns whether it is listed.
    fn list(&self, batch: &mut Batch) -> bool {
        let mut lister = lock(&self.lister);
        let result = lister.list(&batch.files, &mut batch.progress);
        let mut queue = lock(&self.queue);
        if let Err(error) = result {
            let (since, attempts) =
                queue.manifest.as_ref().map_or((Instant::now(), 0), |s| (s.since, s.attempts));
            queue.manifest = Some(ManifestStall { error, since, attempts: attempts + 1 });
            self.told.notify_all();
            return false;
        }
        (queue.listing, queue.manifest) = (Vec::new(), None);
        for Listing { ring, number, .. } in &batch.files {
            queue.rings[*ring].listed = *number;
        }
        // Without a pause in between: a file is in one list or another, or the hook has heard of it.
        let Batch { files, .. } = std::mem::take(batch);
        queue.add(lister.has_hook, &files.iter().map(|one| &one.file).collect::<Vec<_>>());
        self.told.notify_all();
        true
    }

    /// Tries once to list what waits, as the thread would.
    #[cfg(test)]
    pub(crate) fn step(&self, batch: &mut Batch) {
        let fills = lock(&self.queue).fill(batch);
        if fills || !batch.files.is_empty() {
            self.list(batch);
        }
    }

    /// Waits until all files are listed and acknowledged, or until the deadline. Returns the number
    /// of files that are not.
    pub(crate) fn wait_settled(&self, deadline: Option<Instant>) -> u64 {
        let mut queue = lock(&self.queue);
        loop {
            let left = queue.unsettled();
            // A close that gave up is not repeated by the drop.
            if left == 0 || queue.ends {
                return left;
            }
            match wait_on(&self.told, queue, deadline) {
                Some(woken) => queue = woken,
                None => return left,
            }
        }
    }

    /// Ends the threads, though workers may still publish what they were told to. The journal stays for the next
    /// writer.
    pub(crate) fn end_threads(&self) {
        lock(&self.queue).ends = true;
        self.told.notify_all();
    }

    /// Ends the threads, once no worker is left; a recovery may still run. Removes the journal if nothing is left
    /// to do. Returns the threads, one of which may be in a call of the hook.
    pub(crate) fn end(&self) -> Vec<JoinHandle<()>> {
        self.end_threads();
        lock(&self.queue).is_closed = true;
        // Whoever holds the lister for long has something to tell, or hangs.
        let Some(lister) = self.lister_within(LISTER_WAIT) else { return Vec::new() };
        if !lock(&self.queue).is_settled() {
            return Vec::new();
        }
        if let Some(journal) = &lister.journal {
            // What stays says that there is nothing to do.
            let _ = journal.remove(&*lister.fs);
        }
        std::mem::take(&mut *lock(&self.threads))
    }

    fn lister_within(&self, wait: Duration) -> Option<MutexGuard<'_, Lister>> {
        let (began, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            match try_lock(&self.lister) {
                None if began.elapsed() < wait => backoff.pause(),
                tried => return tried,
            }
        }
    }

    /// Removes what a start that failed has made.
    pub(crate) fn undo(&self) {
        let _ = self.end();
    }

    pub(crate) fn stats(&self) -> PublishStats {
        let queue = lock(&self.queue);
        let unlisted = (queue.waiting.len() + queue.listing.len()) as u64;
        PublishStats { unlisted, unacknowledged: queue.unsettled() - unlisted, ..queue.stats }
    }

    /// What holds the listing and the hook up.
    pub(crate) fn stalls(&self, now: Instant) -> (Option<ManifestStall>, Option<HookStall>) {
        let queue = lock(&self.queue);
        let hangs = |at: Instant| now.saturating_duration_since(at) >= HANG;
        let is_stuck = |call: &&Call| call.attempts > 0 || call.running.is_some_and(hangs);
        let hook = queue.call.as_ref().filter(is_stuck).map(|call| HookStall {
            file: call.file.clone(),
            error: call.error.clone(),
            since: call.since,
            lasting: now.saturating_duration_since(call.since),
            attempts: call.attempts,
            unacknowledged: queue.entries - queue.acknowledged,
        });
        (queue.manifest.clone(), hook)
    }

    /// Whether files are to stay until the hook has acknowledged them.
    pub(crate) fn has_hook(&self) -> bool {
        self.has_hook
    }

    /// No file with an older name waits for the hook.
    pub(crate) fn protected_from(&self) -> Option<Stamp> {
        self.has_hook.then(|| lock(&self.queue).protected_from()).flatten()
    }
}
