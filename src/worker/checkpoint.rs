//! Records what a recovery must know about one worker if the process dies now. It goes to the state
//! file and, with crash-proof memory, to words beside the chunks.
//!
//! Guarantees: each step of the worker is recorded in the order that `crash_image.rs` promises. An
//! error of the state file stops no worker. A recovery with an older checkpoint publishes less,
//! never anything wrong. The next checkpoint comes soon.

use crate::base::sync::Arc;
use crate::file::state_file::worker_state::WorkerState;
use crate::file::temp_file::TempFile;
use crate::fs::Fs;
use crate::memory::Shared;
use crate::memory::crash_image::{CrashImage, Filed};
use crate::report::stats::{Count, Watermark};
use crate::worker::collect::Piece;

/// The checkpoint of one worker.
pub(crate) struct Checkpoint {
    worker: usize,
    shared: Arc<Shared>,
    /// From the options, hence the `Arc` of std.
    fs: std::sync::Arc<dyn Fs>,
    state: WorkerState,
    /// The temp file holds copies of records that stay in memory. A recovery takes those.
    copies: bool,
}

impl Checkpoint {
    pub(crate) fn new(
        worker: usize,
        shared: Arc<Shared>,
        fs: std::sync::Arc<dyn Fs>,
        state: WorkerState,
    ) -> Self {
        Checkpoint { worker, shared, fs, state, copies: false }
    }

    fn crash_image(&self) -> Option<&CrashImage> {
        self.shared.arena.crash_image()
    }

    /// Whether the next temp file holds copies. To a recovery it holds nothing.
    pub(crate) fn set_copying(&mut self, copies: bool) {
        self.copies = copies;
    }

    /// Called before a temp file is created. Restores a lost state file, without which a recovery
    /// finds no temp file.
    pub(crate) fn prepare(&mut self) {
        self.state.restore(&*self.fs);
    }

    /// The worker has a new temp file.
    pub(crate) fn begin(&mut self, file: &TempFile) {
        if let Some(image) = self.crash_image() {
            let id = file.id();
            image.begin_file(self.worker, id.stamp.0, id.seq);
        }
        self.update(file);
    }

    /// The temp file was copied to another one, which takes its place with all its records. Both
    /// have the same sequence number, so one store changes the file.
    pub(crate) fn relocate(&mut self, copy: &TempFile) {
        if let Some(image) = self.crash_image() {
            image.move_file(self.worker, copy.id().stamp.0);
        }
        self.update(copy);
    }

    /// The temp file has grown, or more of it is synced.
    pub(crate) fn update(&mut self, file: &TempFile) {
        let synced = file.synced();
        // After a failed fsync the page cache may have lost the rest.
        let good = if file.is_failed() { synced } else { file.good() };
        let (good, synced) =
            if self.copies { (Watermark::ZERO, Watermark::ZERO) } else { (good, synced) };
        let _ = self.state.set(&*self.fs, Some(file.id()), good, synced);
    }

    /// The file has these pieces and has come to `good` with them. Called before their memory is
    /// freed.
    pub(crate) fn file<'a>(&self, pieces: impl Iterator<Item = &'a Piece>, good: Watermark) {
        if let Some(image) = self.crash_image() {
            image.file(self.worker, filed(pieces), good);
        }
    }

    /// These pieces will never be in a file, and `lost` counts them. The count comes first: a crash
    /// between the two steps makes a recovery find records that count as lost.
    pub(crate) fn pass_over<'a>(&self, lost: Count, pieces: impl Iterator<Item = &'a Piece>) {
        if let Some(image) = self.crash_image() {
            image.add_lost(self.worker, lost);
            image.pass_over(self.worker, filed(pieces));
        }
    }

    /// The temp file no longer exists.
    pub(crate) fn end(&mut self) {
        if let Some(image) = self.crash_image() {
            image.end_file(self.worker);
        }
        let _ = self.state.set(&*self.fs, None, Watermark::ZERO, Watermark::ZERO);
    }

    /// `lost` records will never be in a file.
    pub(crate) fn lose(&self, lost: Count) {
        if let Some(image) = self.crash_image() {
            image.add_lost(self.worker, lost);
        }
    }
}

fn filed<'a>(pieces: impl Iterator<Item = &'a Piece>) -> impl Iterator<Item = Filed> {
    let mut is_part = false;
    pieces.map(move |piece| {
        let to = (!is_part && piece.len > 0).then(|| piece.end());
        is_part = piece.split;
        Filed { chunk: piece.chunk, to, is_end: !piece.split }
    })
}
