//! The first look at each file: the format of its times, its first one, and whether it is in order.
//!
//! Guarantees: reads on all processors, each file up to its first line out of order.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::commands::merge::feed::Feed;
use crate::commands::merge::key::{Finder, Key};
use crate::commands::merge::plan::Plan;
use crate::commands::merge::time::Times;

/// Bytes of the buffer of each thread.
const BUFFER_BYTES: usize = 256 << 10;

/// What is known of a file.
pub(crate) struct Known<K> {
    pub(crate) path: PathBuf,
    /// Its place among all files, which decides between lines of one time.
    pub(crate) source: u32,
    pub(crate) finder: Finder,
    /// The first key.
    pub(crate) first: K,
    pub(crate) is_sorted: bool,
    pub(crate) decoder_bytes: usize,
}

/// Looks at all files. Those that can't be read are told and left out, and so are empty ones.
pub(crate) fn survey<K: Key>(plan: &Plan, paths: &[PathBuf]) -> Vec<Known<K>> {
    let next = AtomicUsize::new(0);
    let known = Mutex::new(Vec::new());
    let work = || {
        loop {
            let source = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(source) else { return };
            if let Some(found) = look(plan, path, source as u32) {
                known.lock().unwrap_or_else(PoisonError::into_inner).push(found);
            }
        }
    };
    thread::scope(|scope| {
        // Without a thread more, this one does all.
        for _ in 1..plan.threads.min(paths.len()) {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut known = known.into_inner().unwrap_or_else(PoisonError::into_inner);
    known.sort_unstable_by_key(|known| known.source);
    known
}

fn look<K: Key>(plan: &Plan, path: &Path, source: u32) -> Option<Known<K>> {
    let changed = path.metadata().and_then(|found| found.modified());
    let opened = changed.and_then(|changed| {
        let times = Times::new(plan.format.clone(), &plan.zone, changed);
        let finder = Finder::new(&plan.format, times);
        Feed::<K>::open(path, plan.window_log, BUFFER_BYTES, finder, K::FIRST)
    });
    let mut feed = match opened {
        Ok(feed) => feed,
        Err(error) => {
            plan.outcome.failed(path, format_args!("open: {error}"));
            return None;
        }
    };
    feed.detect();
    let (mut first, mut last, mut is_sorted) = (None, K::FIRST, true);
    while is_sorted && feed.next() {
        if feed.counts.keyed == 1 {
            first.get_or_insert(feed.key());
        }
        is_sorted = feed.key() >= last;
        last = feed.key();
        if plan.window.is_some() && first.is_some() {
            break;
        }
        // What is damaged is told when the file is read for good.
        feed.take_faults();
    }
    if feed.counts.lines > 0 && first.is_none() {
        let format = &plan.format;
        plan.outcome
            .failed(path, format_args!("no line has a time (--time {format}); they come first"));
    }
    Some(Known {
        path: path.to_owned(),
        source,
        finder: feed.finder().clone(),
        first: first.unwrap_or(K::FIRST),
        is_sorted,
        decoder_bytes: feed.decoder_bytes(),
    })
}
