//! Dumps of a flight recorder, for callers that block and for tasks.

use std::time::{Duration, Instant};

use crate::base::sync::Arc;
use crate::report::dump::{DumpError, DumpOptions, Dumped};
use crate::worker::control::Phase;
use crate::worker::dumps::Dump;
use crate::writer::BufferedWriter;
use crate::writer::inner::{Abandon, Core};

impl BufferedWriter {
    /// Publishes what a [flight recorder](crate::Config::recorder) holds in memory, as finished
    /// files: with compression, header, partition and hook as configured. Other threads go on
    /// writing meanwhile.
    ///
    /// What was accepted before this call is in the files, unless it was written over before the
    /// dump began. Each record is in one file, except those of dumps that
    /// [keep](DumpOptions::keep). Within a file, the records of one thread are in order. Dumps run
    /// one after the other.
    ///
    /// While a dump runs, new records have the reserve: [`Config::queue_size`] chunks. A write that
    /// finds it used up takes over the oldest chunk that was sealed since the dump began.
    ///
    /// This blocks the thread for up to the [timeout](DumpOptions::timeout): on an async executor's
    /// thread use [`dump_async`](Self::dump_async). Do not call it from a signal handler.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-dump-{}", std::process::id()));
    /// # let config = bufferedwriter::Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// use bufferedwriter::{BufferedWriter, DumpOptions, Recorder};
    ///
    /// let writer = BufferedWriter::new(config.recorder(Recorder::Last(1 << 20)))?;
    /// writer.write(b"what happened before\n")?;
    /// let dumped = writer.dump(DumpOptions::default())?;
    /// assert_eq!((dumped.records.records, dumped.files), (1, 1));
    /// # writer.close(std::time::Duration::from_secs(5))?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DumpError::TimedOut`] or [`DumpError::Io`] when the time is over. What no file has by then
    /// is in memory again, or in a hidden file that the next dump publishes.
    /// [`DumpError::NoRecorder`] without [`Config::recorder`]. [`DumpError::Closed`] after `close`,
    /// [`DumpError::OnWorker`] on one of the writer's own threads, [`DumpError::Forked`] in a forked
    /// child.
    ///
    /// [`Config::queue_size`]: crate::Config::queue_size
    /// [`Config::recorder`]: crate::Config::recorder
    pub fn dump(&self, options: DumpOptions) -> Result<Dumped, DumpError> {
        self.handle.dump(options)
    }

    /// Publishes what a flight recorder holds, like [`dump`](Self::dump), without holding the
    /// thread. It works on any executor.
    ///
    /// # Cancel safety
    /// A future that is dropped ends the dump, as its timeout does: what no file has by then is in
    /// memory again.
    ///
    /// # Errors
    /// Those of `dump`. While a call to the disk hangs, the future waits beyond its timeout.
    pub async fn dump_async(&self, options: DumpOptions) -> Result<Dumped, DumpError> {
        self.handle.dump_async(options).await
    }
}

/// How far a dump may exceed its deadline, so that the worker can give back what it holds.
const GRACE: Duration = Duration::from_millis(10);

impl Core {
    fn dump(&self, options: DumpOptions) -> Result<Dumped, DumpError> {
        let deadline = self.may_dump(options)?;
        let (dump, number) = self.ask_dump(options, deadline);
        if !self.control.wait_flushed(number, deadline) && dump.result().is_none() {
            // A worker that does not hang answers at once, so that its last try counts.
            self.wake_all();
            self.control.wait_flushed(number, Instant::now().checked_add(GRACE));
        }
        self.dumped(&dump)
    }

    async fn dump_async(&self, options: DumpOptions) -> Result<Dumped, DumpError> {
        let deadline = self.may_dump(options)?;
        let (dump, number) = self.ask_dump(options, deadline);
        let abandon = Abandon(self, dump);
        self.wait_flushed_async(number).await;
        self.dumped(&abandon.1)
    }

    /// When a dump that begins now ends. An error if there can't be one.
    fn may_dump(&self, options: DumpOptions) -> Result<Option<Instant>, DumpError> {
        if self.is_own_worker() {
            return Err(DumpError::OnWorker);
        }
        if self.is_forked() {
            return Err(DumpError::Forked);
        }
        if self.shared.ring.is_none() {
            return Err(DumpError::NoRecorder);
        }
        if self.shared.slots.is_closed() {
            return Err(DumpError::Closed);
        }
        let is_limited = options.timeout != Duration::MAX;
        Ok(Instant::now().checked_add(options.timeout).filter(|_| is_limited))
    }

    pub(crate) fn ask_dump(
        &self,
        options: DumpOptions,
        deadline: Option<Instant>,
    ) -> (Arc<Dump>, u64) {
        // By the call, not by the beginning: another dump may run until then.
        let since = match (&self.shared.ring, options.reach()) {
            (Some(ring), Some(reach)) => ring.before(reach),
            _ => 0,
        };
        let dump = Dump::since(since, options, deadline);
        let number = self.dumps.ask(dump.clone(), || self.control.ask_flush());
        self.wake_all();
        (dump, number)
    }

    /// The result of a dump. It is over: if there is none, the caller gives it up.
    fn dumped(&self, dump: &Dump) -> Result<Dumped, DumpError> {
        if self.is_forked() {
            return Err(DumpError::Forked);
        }
        if let Some(outcome) = dump.result() {
            return outcome;
        }
        self.wake_all();
        if self.control.phase() == Phase::Abandoned || self.is_finished() {
            return Err(DumpError::Closed);
        }
        let error = self.last_error().or_else(|| self.health().stalls.pop().map(|it| it.error));
        Err(error.map_or(DumpError::TimedOut, DumpError::Io))
    }
}
