//! Closes the files at the end.

use std::fmt;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, CloseError, CloseReport};

/// As long as a drop of the writer itself waits by default.
const DEADLINE: Duration = Duration::from_secs(5);

/// Hears how the close went.
pub type OnClose = Box<dyn FnOnce(Result<CloseReport, CloseError>) + Send>;

/// Closes the writer when it is dropped, so that all events are in files.
///
/// Let it live until the end of `main`: bind it to a name such as `_guard`, not to `_`, which drops
/// it at once. It does nothing when the process ends by `std::process::exit` or a signal.
#[must_use = "the writer is closed when this is dropped, which is now"]
pub struct Guard {
    files: BufferedWriter,
    is_closed: bool,
    deadline: Duration,
    on_close: Option<OnClose>,
}

impl Guard {
    pub(crate) fn new(files: BufferedWriter) -> Self {
        Guard { files, is_closed: false, deadline: DEADLINE, on_close: None }
    }

    /// How long the close may take. Default: 5 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Calls this with the report when the guard is dropped. Default: nobody hears of it.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("bw-tracing-guard-{}", std::process::id()));
    /// # let config = bufferedwriter::Config::default().path(&dir).create_dirs(true);
    /// # let files = bufferedwriter::BufferedWriter::new(config)?;
    /// let (writer, guard) = bufferedwriter_tracing::writer(&files);
    /// let _guard = guard.on_close(|closed| match closed {
    ///     Ok(report) => eprintln!("{} events in {} files", report.written.records, report.files),
    ///     Err(error) => eprintln!("{error}"),
    /// });
    /// # drop((writer, _guard));
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_close(
        mut self,
        hears: impl FnOnce(Result<CloseReport, CloseError>) + Send + 'static,
    ) -> Self {
        self.on_close = Some(Box::new(hears));
        self
    }

    /// Closes the writer now. [`on_close`](Self::on_close) is not called.
    ///
    /// # Errors
    /// Not all is in files by the [`deadline`](Self::deadline). The error has the report, too.
    pub fn close(mut self) -> Result<CloseReport, CloseError> {
        self.is_closed = true;
        self.files.close(self.deadline)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        let closed = self.files.close(self.deadline);
        if let Some(hears) = self.on_close.take() {
            hears(closed);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
