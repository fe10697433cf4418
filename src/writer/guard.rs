//! Closes a writer at the end of a scope.
//!
//! Guarantees: a guard closes once, within its deadline. What hears of it runs after the close.

use std::fmt;
use std::time::Duration;

use crate::report::close::{CloseError, CloseReport};
use crate::writer::handle::Handle;

/// As long as a drop of the writer itself waits by default.
const DEADLINE: Duration = Duration::from_secs(5);

type OnClose = Box<dyn FnOnce(Result<CloseReport, CloseError>) + Send>;

/// Closes a writer when it is dropped, so that all records are in files; see
/// [`BufferedWriter::guard`](crate::BufferedWriter::guard).
///
/// Let it live until the end of `main`: bind it to a name such as `_guard`, not to `_`, which drops
/// it at once. It does nothing when the process ends by `std::process::exit` or a signal.
#[must_use = "the writer is closed when this is dropped, which is now"]
pub struct CloseGuard {
    handle: Handle,
    /// It was closed, or given up.
    is_over: bool,
    deadline: Duration,
    on_close: Option<OnClose>,
}

impl CloseGuard {
    pub(crate) fn new(handle: Handle) -> Self {
        CloseGuard { handle, is_over: false, deadline: DEADLINE, on_close: None }
    }

    /// How long the close may take. Default: 5 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Calls this with the report when the guard is dropped. Default: nobody hears of it.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("bw-guard-{}", std::process::id()));
    /// # let config = bufferedwriter::Config::default().path(&dir).create_dirs(true);
    /// # let files = bufferedwriter::BufferedWriter::new(config)?;
    /// let _guard = files.guard().on_close(|closed| match closed {
    ///     Ok(report) => eprintln!("{} records in {} files", report.written.records, report.files),
    ///     Err(error) => eprintln!("{error}"),
    /// });
    /// # drop(_guard);
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

    /// Gives up the guard: nothing is closed.
    pub fn release(mut self) {
        self.is_over = true;
    }

    /// Closes the writer now. [`on_close`](Self::on_close) is not called.
    ///
    /// # Errors
    /// Not all is in files by the [`deadline`](Self::deadline). The error has the report, too.
    pub fn close(mut self) -> Result<CloseReport, CloseError> {
        self.is_over = true;
        self.handle.close(self.deadline)
    }
}

impl Drop for CloseGuard {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let closed = self.handle.close(self.deadline);
        if let Some(hears) = self.on_close.take() {
            hears(closed);
        }
    }
}

impl fmt::Debug for CloseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseGuard").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
