//! Events that wait for the end of their span.
//!
//! Guarantees: what waits is bounded in bytes, over all spans of a layer. Each event that waited is written
//! once, or counted as discarded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_core::Level;

use super::Counts;

/// Spans whose events are written only if something went wrong in them; for
/// [`EventLayer::buffer_spans`](super::EventLayer::buffer_spans).
///
/// The events of such a span, and of all spans within it, wait in memory. The first event of
/// [`keep_on`](Self::keep_on)'s level or a more severe one writes them all, and what comes later in the span is
/// written at once. If the span ends without one, they are discarded and
/// [counted](super::EventCounts::discarded).
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("bw-tracing-spans-{}", std::process::id()));
/// # let config = bufferedwriter::Config::default().path(&dir).create_dirs(true);
/// # let files = bufferedwriter::BufferedWriter::new(config)?;
/// use bufferedwriter_tracing::BufferSpans;
/// use tracing_subscriber::prelude::*;
///
/// let (layer, guard) = bufferedwriter_tracing::json(&files);
/// let layer = layer.buffer_spans(BufferSpans::named("request"));
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     for number in 0..100 {
///         let _request = tracing::info_span!("request", number).entered();
///         tracing::debug!("parsed");
///         if number == 7 {
///             tracing::error!("no such user");
///         }
///     }
/// });
/// assert_eq!(guard.close()?.written.records, 2);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BufferSpans {
    name: String,
    keep_on: Level,
    bytes: usize,
}

impl BufferSpans {
    /// Spans with this name. Those within such a span belong to it, whatever their name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        BufferSpans { name: name.into(), keep_on: Level::ERROR, bytes: 4 << 20 }
    }

    /// The level of an event that has the events of its span written. Default: `ERROR`.
    #[must_use]
    pub fn keep_on(mut self, level: Level) -> Self {
        self.keep_on = level;
        self
    }

    /// Bytes of lines that may wait, in all spans together. When they are used up, a span discards its oldest
    /// events for a new one. Default: 4 MiB.
    ///
    /// A span that fails writes all of its events at once. So stay well below the memory of the writer, `size` times
    /// `queue_size`, or it refuses some of them.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

/// Of one layer.
pub(crate) struct HeldSpans {
    options: BufferSpans,
    counts: Arc<Counts>,
    /// Bytes that wait, at most `options.bytes`.
    used: AtomicUsize,
}

impl HeldSpans {
    pub(crate) fn new(options: BufferSpans, counts: Arc<Counts>) -> Self {
        HeldSpans { options, counts, used: AtomicUsize::new(0) }
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.options.name == name
    }

    fn take(&self, bytes: usize) -> bool {
        let room = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.options.bytes);
        self.used.fetch_update(Relaxed, Relaxed, room).is_ok()
    }

    fn count(&self, discarded: u64) {
        self.counts.discarded.fetch_add(discarded, Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }
}

/// Of one span.
pub(crate) struct HeldEvents {
    spans: Arc<HeldSpans>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Box<str>>,
    /// Further events are written at once.
    is_over: bool,
}

impl HeldEvents {
    pub(crate) fn new(spans: &Arc<HeldSpans>) -> Arc<Self> {
        Arc::new(HeldEvents { spans: Arc::clone(spans), waiting: Mutex::default() })
    }

    /// Whether an event of this level has all events of the span written.
    pub(crate) fn keeps_on(&self, level: Level) -> bool {
        // Levels are ordered by verbosity.
        level <= self.spans.options.keep_on
    }

    /// Keeps the line; or returns those that waited, which are to be written before it.
    pub(crate) fn keep(&self, level: Level, line: &str) -> Option<VecDeque<Box<str>>> {
        let mut waiting = self.lock();
        if waiting.is_over || self.keeps_on(level) {
            waiting.is_over = true;
            return Some(self.take_all(waiting));
        }
        // What can never fit pushes nothing out.
        let fits = line.len() <= self.spans.options.bytes;
        let mut discarded = 0;
        while !(fits && self.spans.take(line.len())) {
            discarded += 1;
            let oldest = if fits { waiting.lines.pop_front() } else { None };
            let Some(oldest) = oldest else {
                self.spans.count(discarded);
                return None;
            };
            self.spans.give_back(oldest.len());
        }
        waiting.lines.push_back(line.into());
        self.spans.count(discarded);
        None
    }

    /// The span is over, and nobody wants its events.
    pub(crate) fn discard(&self) {
        let lines = self.take_all(self.lock());
        self.spans.count(lines.len() as u64);
    }

    fn take_all(&self, mut waiting: MutexGuard<'_, Waiting>) -> VecDeque<Box<str>> {
        let lines = std::mem::take(&mut waiting.lines);
        drop(waiting);
        self.spans.give_back(lines.iter().map(|line| line.len()).sum());
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldEvents {
    /// The subscriber may go while its spans are open.
    fn drop(&mut self) {
        self.discard();
    }
}
