//! Sorts the lines of files that are not in order, into runs.
//!
//! Guarantees: stable. Memory is bounded, whatever the length and number of lines. Each processor sorts files of its
//! own, so one file is sorted by one.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::commands::merge::feed::Feed;
use crate::commands::merge::key::Key;
use crate::commands::merge::plan::Plan;
use crate::commands::merge::spill::{Spill, piece_bytes};
use crate::commands::merge::streams::{Pending, What, rank, tell};
use crate::commands::merge::survey::Known;

/// Bytes of the buffer through which each thread reads.
const BUFFER_BYTES: usize = 256 << 10;

/// A piece of a line, in the memory of a batch.
#[derive(Clone, Copy)]
struct Entry<K> {
    key: K,
    /// Where it begins. Pieces of one key are in the order in which they were read.
    at: u32,
    len: u32,
    source: u32,
}

/// Pieces to be sorted together.
struct Batch<K> {
    bytes: Vec<u8>,
    entries: Vec<Entry<K>>,
}

impl<K: Key> Batch<K> {
    fn new(memory: usize) -> Self {
        // Lines of some 70 bytes fill both at once.
        let entries = memory / 4 / size_of::<Entry<K>>();
        let bytes = (memory / 4 * 3).min(u32::MAX as usize);
        Batch { bytes: Vec::with_capacity(bytes), entries: Vec::with_capacity(entries) }
    }

    fn has_room(&self, piece: &[u8]) -> bool {
        self.bytes.capacity() - self.bytes.len() >= piece.len()
            && self.entries.len() < self.entries.capacity()
    }

    fn put(&mut self, key: K, source: u32, piece: &[u8]) {
        let (at, len) = (self.bytes.len() as u32, piece.len() as u32);
        self.bytes.extend_from_slice(piece);
        self.entries.push(Entry { key, at, len, source });
    }

    /// Writes the pieces in order and forgets them.
    fn spill(&mut self, spill: &Spill, number: u32) -> io::Result<Option<Pending<K>>> {
        self.entries.sort_unstable_by_key(|entry| (entry.key, entry.at));
        let bytes = self.entries.iter().map(|entry| piece_bytes::<K>(entry.len as usize)).sum();
        let mut writer = spill.begin::<K>(bytes)?;
        for entry in &self.entries {
            let piece = &self.bytes[entry.at as usize..][..entry.len as usize];
            writer.put(entry.key, rank(entry.source, number), piece)?;
        }
        self.bytes.clear();
        self.entries.clear();
        let run = writer.finish()?;
        Ok(run.map(|run| Pending { first: run.first, what: What::Run(run) }))
    }
}

/// What the threads share.
struct Sorting<'a, K> {
    plan: &'a Plan,
    spill: &'a Spill,
    files: Vec<&'a Known<K>>,
    next: AtomicUsize,
    runs: AtomicU32,
    done: Mutex<io::Result<Vec<Pending<K>>>>,
}

/// Sorts the files that are not in order into runs.
pub(crate) fn sort<K: Key>(
    plan: &Plan,
    spill: &Spill,
    files: Vec<&Known<K>>,
) -> io::Result<Vec<Pending<K>>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    spill.open()?;
    let threads = plan.threads.min(files.len());
    let decoder = files.iter().map(|file| file.decoder_bytes).max().unwrap_or(0);
    let memory = (plan.memory / threads).saturating_sub(decoder + 2 * BUFFER_BYTES);
    // Room for one buffer's piece in any case.
    let memory = memory.max(2 * BUFFER_BYTES);
    let (next, runs, done) = (AtomicUsize::new(0), AtomicU32::new(0), Mutex::new(Ok(Vec::new())));
    let sorting = Sorting { plan, spill, files, next, runs, done };
    thread::scope(|scope| {
        for _ in 1..threads {
            let _ = thread::Builder::new().spawn_scoped(scope, || sorting.work(memory));
        }
        sorting.work(memory);
    });
    sorting.done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Key> Sorting<'_, K> {
    fn work(&self, memory: usize) {
        let mut batch = Batch::new(memory);
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(at) else { break };
            if let Err(error) = self.read(file, &mut batch) {
                *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
                return;
            }
        }
        let last = self.spill(&mut batch);
        if let Err(error) = last {
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
        }
    }

    fn read(&self, file: &Known<K>, batch: &mut Batch<K>) -> io::Result<()> {
        let finder = file.finder.clone();
        let window_log = self.plan.window_log;
        let mut feed = match Feed::open(&file.path, window_log, BUFFER_BYTES, finder, file.first) {
            Ok(feed) => feed,
            Err(error) => {
                self.plan.outcome.failed(&file.path, format_args!("open: {error}"));
                return Ok(());
            }
        };
        while feed.next() {
            if !batch.has_room(feed.piece()) {
                self.spill(batch)?;
            }
            batch.put(feed.key(), file.source, feed.piece());
            if feed.has_faults() {
                tell(&mut feed, &file.path, &self.plan.outcome, None);
            }
        }
        tell(&mut feed, &file.path, &self.plan.outcome, Some(0));
        Ok(())
    }

    fn spill(&self, batch: &mut Batch<K>) -> io::Result<()> {
        // Ascends for one file, which one thread reads.
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let run = batch.spill(self.spill, number)?;
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(done) = &mut *done {
            done.extend(run);
        }
        Ok(())
    }
}
