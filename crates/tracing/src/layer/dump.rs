//! Dumps of a flight recorder that an event triggers.
//!
//! Guarantees: an event never waits for a dump, which a thread of its own makes. The event is in it. Events while
//! a dump is not due yet lead to one dump, as soon as it is. The thread ends with the layer, or with the writer.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, DumpError, DumpOptions};
use tracing_core::Level;

use super::EventLayer;

/// Asks for dumps.
pub(crate) struct DumpOn {
    level: Level,
    /// When the event came.
    asks: SyncSender<Instant>,
}

impl DumpOn {
    /// The event of this level is in memory.
    #[inline]
    pub(crate) fn saw(&self, level: Level) {
        // More severe levels are less.
        if level <= self.level {
            // If one is asked for already, that one has the event too.
            let _ = self.asks.try_send(Instant::now());
        }
    }
}

impl fmt::Debug for DumpOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DumpOn").field("level", &self.level).finish_non_exhaustive()
    }
}

impl EventLayer {
    /// Has the writer, a [flight recorder](bufferedwriter::Config::recorder), dump what it holds when an event of
    /// this level or a more severe one comes. Dumps begin at least `interval` apart: events in between lead to one
    /// more when it is over. A thread makes them, so the event does not wait.
    ///
    /// An error of a dump is told nowhere but in the writer's [`health`](BufferedWriter::health) and its callback; what
    /// it did not publish is in memory, and the next dump has it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use bufferedwriter::{BufferedWriter, Config, DumpOptions, Recorder};
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-dump-on-{}", std::process::id()));
    /// # std::fs::create_dir_all(&dir)?;
    /// let config = Config::default().path(&dir).temp(&dir).recorder(Recorder::Last(1 << 20));
    /// let recorder = BufferedWriter::new(config)?;
    /// let (layer, _guard) = bufferedwriter_tracing::json(&recorder);
    /// let layer = layer.dump_on(tracing::Level::ERROR, Duration::from_secs(60), DumpOptions::default())?;
    /// tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
    ///     tracing::debug!("what came before");
    ///     tracing::error!("something is wrong");
    /// });
    /// # while recorder.stats().written.records < 2 { std::thread::yield_now(); }
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The system has no thread for it.
    pub fn dump_on(
        mut self,
        level: Level,
        interval: Duration,
        options: DumpOptions,
    ) -> io::Result<Self> {
        // One that runs, and one that waits.
        let (asks, asked) = sync_channel(1);
        let files = self.files.clone();
        thread::Builder::new()
            .name("bw-dump".to_owned())
            .spawn(move || dump(files, &asked, interval, options))?;
        self.options.dump_on = Some(DumpOn { level, asks });
        Ok(self)
    }
}

fn dump(
    files: BufferedWriter,
    asked: &Receiver<Instant>,
    interval: Duration,
    options: DumpOptions,
) {
    // The first event that no dump has.
    let mut first = None;
    while let Some(event) = first.or_else(|| asked.recv().ok()) {
        let end = Instant::now().checked_add(interval);
        // What came before the event may be due only long after it.
        if let Err(DumpError::Closed | DumpError::NoRecorder) = files.dump(options.before(event)) {
            return;
        }
        first = None;
        loop {
            let left = end.map_or(interval, |end| end.saturating_duration_since(Instant::now()));
            match asked.recv_timeout(left) {
                Ok(event) => first = first.or(Some(event)),
                Err(RecvTimeoutError::Timeout) => break,
                // The layer is gone. What it asked for last is due now.
                Err(RecvTimeoutError::Disconnected) if first.is_some() => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
