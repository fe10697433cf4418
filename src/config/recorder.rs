//! The options of a flight recorder.

use crate::config::{Config, Recorder};

impl Config {
    /// Whether the writer keeps the newest records in memory rather than write them to files.
    /// Default [`Recorder::Off`].
    ///
    /// A recorder has one worker, which sleeps until something is asked. [`workers`](Self::workers),
    /// [`file_age`](Self::file_age) and [`rotate_at`](Self::rotate_at) have no effect.
    /// [`forced`](Self::forced) is the longest time that one chunk spans, which bounds the error of
    /// [`DumpOptions::last`](crate::DumpOptions::last). [`give_up_after`](Self::give_up_after) has no
    /// effect either: a dump has a deadline of its own. `send` copies every message.
    ///
    /// It is refused together with [`min_free`](Self::min_free), [`max_total`](Self::max_total) and
    /// [`start_on_full_disk`](Self::start_on_full_disk), which refuse records for the sake of files.
    pub fn recorder(mut self, recorder: Recorder) -> Self {
        self.memory.recorder = recorder;
        self
    }

    /// Whether a [recorder](Self::recorder) dumps what it holds when it is closed. Default false: a
    /// clean end needs no last seconds, and what is in memory counts as
    /// [overwritten](crate::CloseReport::overwritten).
    pub fn dump_on_close(mut self, dump: bool) -> Self {
        self.memory.dump_on_close = dump;
        self
    }
}
