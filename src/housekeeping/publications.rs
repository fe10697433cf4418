//! The files that this writer publishes, on their way from the workers to the manifest and the
//! hook.
//!
//! Guarantees: the files of one worker are listed, and the hook is called for them, in their order.
//! The hook runs on a thread of its own, while nothing is held, and its panics are caught. The
//! memory that waiting files take is bounded: by the rings, and by [`UPCOMING_MAX`]. Refuses another
//! file of a worker while [`RING_ENTRIES`] of its files are unlisted.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::foreign::quietly;
use crate::base::latch::wait_on;
use crate::base::sync::{Arc, Condvar, Mutex, lock};
use crate::base::thread::spawn;
use crate::config::Publishing;
use crate::fs::Fs;
use crate::housekeeping::journal::format::RING_ENTRIES;
use crate::housekeeping::journal::{Journal, Ring};
use crate::housekeeping::lister::{Lister, Listing, Progress};
use crate::housekeeping::manifest::Manifest;
use crate::housekeeping::publication::Publication;
use crate::naming::{Names, Stamp};
use crate::report::error::Error;
use crate::report::published::{HookStall, ManifestStall, OnPublish, PublishStats};

/// Files that are kept in memory for the hook. Others wait in the journal.
const UPCOMING_MAX: usize = 64;
/// How long a worker waits for its ring before it counts that as a failure.
pub(crate) const ROOM_WAIT: Duration = Duration::from_millis(20);
/// Pauses between two tries: they double from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const MANIFEST_PAUSE_MAX: Duration = Duration::from_secs(1);
const HOOK_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A call of the hook that takes longer is reported.
const HANG: Duration = Duration::from_secs(1);

/// Shared by workers, the recovery, and the two threads that list and that call the hook.
pub(crate) struct Publications {
    /// Where files appear.
    dir: PathBuf,
    hook: OnPublish,
    /// Taken before `queue` if both are.
    lister: Mutex<Lister>,
    queue: Mutex<Queue>,
    told: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    /// Visible, and not listed yet.
    waiting: VecDeque<Listing>,
    /// Being listed.
    listing: Vec<Listing>,
    rings: Vec<RingState>,
    /// The next files for the hook, in order.
    upcoming: VecDeque<Publication>,
    /// Entries of the journal, and how many of them the hook has acknowledged.
    entries: u64,
    acknowledged: u64,
    stats: PublishStats,
    manifest: Option<ManifestStall>,
    call: Option<Call>,
    /// No more files come.
    ends: bool,
}

#[derive(Clone, Copy, Default)]
struct RingState {
    /// Number of the last file that is listed.
    listed: u64,
    /// While a file is about to become visible: its name has a later stamp.
    begun: Option<Stamp>,
}

/// The file for which the hook is being called.
struct Call {
    file: PathBuf,
    since: Instant,
    attempts: u64,
    error: String,
    /// When the call that has not returned began.
    running: Option<Instant>,
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
        Ok(Some(Publications {
            dir: dir.to_owned(),
            hook: on_publish,
            lister: Mutex::new(lister),
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
            let journal = Journal::create(&*fs, temp, names, &self.dir, rings, has_locks)?;
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
        if this.hook.0.is_some() {
            threads.push(run("bw-hook", Publications::run_hook)?);
        }
        Ok(())
    }

    fn ring(&self, number: usize) -> Result<Ring, Error> {
        match &lock(&self.lister).journal {
            Some(journal) => journal.ring(number),
            None => {
                Err(Error::io("note a file of", &self.dir, std::io::ErrorKind::NotFound.into()))
            }
        }
    }

    /// Waits for a while until the ring has room. The error says what the listing waits for.
    fn wait_for_room(&self, ring: usize, next: u64, wait: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + wait;
        let mut queue = lock(&self.queue);
        loop {
            let state = &mut queue.rings[ring];
            if next - state.listed <= RING_ENTRIES as u64 {
                state.begun = Some(Stamp::next());
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

    fn push(&self, listing: Listing) {
        let mut queue = lock(&self.queue);
        queue.rings[listing.ring].begun = None;
        queue.waiting.push_back(listing);
        self.told.notify_all();
    }

    fn no_file(&self, ring: usize) {
        lock(&self.queue).rings[ring].begun = None;
    }

    /// A recovery: lists a file of a dead writer. Its manifest may have it already if that is
    /// `doubtful`.
    pub(crate) fn adopt(&self, file: &Publication, doubtful: bool) -> Result<(), Error> {
        let mut lister = lock(&self.lister);
        lister.adopt(file, doubtful)?;
        self.listed(&lister, &[file]);
        Ok(())
    }

    /// A recovery: calls the hook for a file that a dead writer had listed. `false` without a hook.
    pub(crate) fn hand_on(&self, file: &Publication) -> Result<bool, Error> {
        let mut lister = lock(&self.lister);
        if lister.has_hook {
            lister.hand_on(file)?;
            self.listed(&lister, &[file]);
        }
        Ok(lister.has_hook)
    }

    /// Tells the hook's thread of listed files.
    fn listed(&self, lister: &Lister, files: &[&Publication]) {
        let mut queue = lock(&self.queue);
        queue.stats.listed += files.len() as u64;
        if lister.has_hook {
            let is_next = queue.entries - queue.acknowledged == queue.upcoming.len() as u64;
            queue.entries += files.len() as u64;
            let room = UPCOMING_MAX.saturating_sub(queue.upcoming.len());
            if is_next {
                queue.upcoming.extend(files.iter().take(room).map(|&file| file.clone()));
            }
        }
        self.told.notify_all();
    }

    /// The thread that lists.
    fn run_lister(&self) {
        loop {
            let mut queue = lock(&self.queue);
            while queue.waiting.is_empty() {
                if queue.ends {
                    return;
                }
                queue = wait_on(&self.told, queue, None).expect("without a deadline");
            }
            let files: Vec<Listing> = queue.waiting.drain(..).collect();
            queue.listing.clone_from(&files);
            drop(queue);
            self.list(&files);
        }
    }

    /// Lists files, with as many tries as it takes.
    fn list(&self, files: &[Listing]) {
        let (mut progress, mut pause) = (Progress::default(), PAUSE_MIN);
        loop {
            let mut lister = lock(&self.lister);
            let Err(error) = lister.list(files, &mut progress) else {
                let all: Vec<&Publication> = files.iter().map(|listing| &listing.file).collect();
                let mut queue = lock(&self.queue);
                (queue.listing, queue.manifest) = (Vec::new(), None);
                for Listing { ring, number, .. } in files {
                    queue.rings[*ring].listed = *number;
                }
                drop(queue);
                self.listed(&lister, &all);
                return;
            };
            drop(lister);
            let mut queue = lock(&self.queue);
            let (since, attempts) =
                queue.manifest.as_ref().map_or((Instant::now(), 0), |s| (s.since, s.attempts));
            queue.manifest = Some(ManifestStall { error, since, attempts: attempts + 1 });
            self.told.notify_all();
            let until = Instant::now() + pause;
            while let Some(woken) = wait_on(&self.told, queue, Some(until)) {
                queue = woken;
            }
            pause = (pause * 2).min(MANIFEST_PAUSE_MAX);
        }
    }

    /// The thread that calls the hook.
    fn run_hook(&self) {
        let Some(hook) = self.hook.0.clone() else { return };
        while let Some(file) = self.next_for_hook() {
            let Some(told) = file.told(&self.dir) else {
                self.acknowledge();
                continue;
            };
            lock(&self.queue).call = Some(Call {
                file: told.path.clone(),
                since: Instant::now(),
                attempts: 0,
                error: String::new(),
                running: None,
            });
            let mut pause = PAUSE_MIN;
            loop {
                self.with_call(|call| call.running = Some(Instant::now()));
                let mut result = Err("it panicked".into());
                quietly(|| result = hook(&told));
                let error = match result {
                    Ok(()) => break,
                    Err(error) => error.to_string(),
                };
                self.with_call(|call| {
                    (call.running, call.error) = (None, error);
                    call.attempts += 1;
                });
                if !self.rest(pause) {
                    return;
                }
                pause = (pause * 2).min(HOOK_PAUSE_MAX);
            }
            self.acknowledge();
        }
    }

    fn with_call(&self, change: impl FnOnce(&mut Call)) {
        lock(&self.queue).call.as_mut().map(change);
    }

    /// Waits. `false` once the writer has ended.
    fn rest(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut queue = lock(&self.queue);
        while !queue.ends {
            match wait_on(&self.told, queue, Some(until)) {
                Some(woken) => queue = woken,
                None => return true,
            }
        }
        false
    }

    /// Waits for a file for the hook. `None` once the writer has ended.
    fn next_for_hook(&self) -> Option<Publication> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.ends {
                return None;
            }
            if let Some(file) = queue.upcoming.front() {
                return Some(file.clone());
            }
            if queue.acknowledged < queue.entries {
                drop(queue);
                let read = self.read_upcoming();
                if read.is_err() && !self.rest(PAUSE_MIN) {
                    return None;
                }
                queue = lock(&self.queue);
                continue;
            }
            queue = wait_on(&self.told, queue, None).expect("without a deadline");
        }
    }

    /// Reads the next files from the journal. An entry that can't be read any more is passed over.
    fn read_upcoming(&self) -> Result<(), Error> {
        let mut lister = lock(&self.lister);
        let from = lock(&self.queue).acknowledged;
        let Some(journal) = &mut lister.journal else { return Ok(()) };
        let read = journal.read(from, UPCOMING_MAX)?;
        let mut queue = lock(&self.queue);
        if read.is_empty() {
            queue.acknowledged += 1;
        }
        queue.upcoming = read.into();
        Ok(())
    }

    /// The hook has acknowledged the file. An error of the journal means that it is called again after a crash.
    fn acknowledge(&self) {
        let mut lister = lock(&self.lister);
        let mut queue = lock(&self.queue);
        queue.upcoming.pop_front();
        queue.call = None;
        queue.acknowledged += 1;
        queue.stats.acknowledged += 1;
        let (acknowledged, is_all) = (queue.acknowledged, queue.acknowledged == queue.entries);
        drop(queue);
        if let Some(journal) = &mut lister.journal {
            if !is_all {
                let _ = journal.note_acknowledged(acknowledged);
            } else if journal.forget_entries().is_ok() {
                let mut queue = lock(&self.queue);
                (queue.acknowledged, queue.entries) = (0, 0);
            }
        }
        self.told.notify_all();
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

    /// Ends the threads, once no worker is left. Removes the journal if nothing is left to do. Returns the threads,
    /// one of which may be in a call of the hook.
    pub(crate) fn end(&self) -> Vec<JoinHandle<()>> {
        {
            let mut queue = lock(&self.queue);
            queue.ends = true;
            self.told.notify_all();
            if queue.unsettled() > 0 {
                return Vec::new();
            }
        }
        let lister = lock(&self.lister);
        if let Some(journal) = &lister.journal {
            // What stays says that there is nothing to do.
            let _ = journal.remove(&*lister.fs);
        }
        std::mem::take(&mut *lock(&self.threads))
    }

    /// Removes what a start that failed has made.
    pub(crate) fn undo(&self) {
        let _ = self.end();
    }

    pub(crate) fn stats(&self) -> PublishStats {
        let queue = lock(&self.queue);
        PublishStats {
            unlisted: (queue.waiting.len() + queue.listing.len()) as u64,
            unacknowledged: queue.entries - queue.acknowledged,
            ..queue.stats
        }
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

    /// No file with an older name waits for the hook.
    pub(crate) fn protected_from(&self) -> Option<Stamp> {
        self.hook.0.as_ref()?;
        let queue = lock(&self.queue);
        let begun = queue.rings.iter().filter_map(|ring| ring.begun);
        let listings = queue.waiting.iter().chain(&queue.listing).map(|listing| &listing.file);
        let named = listings.chain(&queue.upcoming).filter_map(Publication::stamp);
        begun.chain(named).min()
    }
}

impl Queue {
    /// Files that are not listed, or that the hook has not acknowledged.
    fn unsettled(&self) -> u64 {
        let unlisted = self.waiting.len() + self.listing.len();
        unlisted as u64 + self.entries - self.acknowledged
    }
}

/// One worker's, or the recovery's, way to tell of its files.
pub(crate) struct Announcer {
    publications: Arc<Publications>,
    ring: Option<Ring>,
    number: usize,
    /// Of the last file that became visible.
    last: u64,
    is_noted: bool,
    /// Visible, but their directory is not synced yet.
    unsynced: Vec<Listing>,
}

impl Announcer {
    pub(crate) fn new(publications: Arc<Publications>, number: usize) -> Self {
        let unsynced = Vec::new();
        Announcer { publications, ring: None, number, last: 0, is_noted: false, unsynced }
    }

    pub(crate) fn publications(&self) -> &Publications {
        &self.publications
    }

    /// Waits for a while until another file may become visible.
    pub(crate) fn wait_for_room(&mut self, wait: Duration) -> Result<(), Error> {
        if self.ring.is_none() {
            self.ring = Some(self.publications.ring(self.number)?);
        }
        self.publications.wait_for_room(self.number, self.last + 1, wait)
    }

    /// Notes a file just before it becomes visible.
    pub(crate) fn note(&mut self, file: &Publication) -> Result<(), Error> {
        let number = self.last + 1;
        self.ring.as_mut().map_or(Ok(()), |ring| ring.note(number, file))?;
        self.is_noted = true;
        Ok(())
    }

    /// The file that was noted has become visible.
    pub(crate) fn published(&mut self, file: Publication) {
        self.last += 1;
        self.is_noted = false;
        self.unsynced.push(Listing { ring: self.number, number: self.last, file });
    }

    /// Whether files wait for the sync of their directory.
    pub(crate) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The directories of all visible files are synced, as far as they must be.
    pub(crate) fn synced(&mut self) {
        self.unsynced.drain(..).for_each(|listing| self.publications.push(listing));
    }

    /// The file that was noted will not become visible. An error means that a recovery may look for it.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_noted)
            && let Some(ring) = &mut self.ring
        {
            let _ = ring.clear(self.last + 1);
        }
        self.publications.no_file(self.number);
    }
}
