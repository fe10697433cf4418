//! Errors, as values. Nothing here prints, panics, or allocates on the hot path.
//!
//! Guarantees: every I/O error names the operation and the path. Uses no other module.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An option out of its range or not understood, or a failed operation on a path. Cheap to clone.
///
/// As text: `option workers is 0; permitted: 1 to 256`, or `rename /tmp/a to /log/b: No space left
/// on device`.
#[derive(Clone)]
pub struct Error(Arc<Kind>);

enum Kind {
    Option {
        option: &'static str,
        value: String,
        permitted: String,
    },
    /// What a text says of an option that it can't say.
    Text {
        option: &'static str,
        what: String,
    },
    /// As another process tells it.
    Told {
        what: String,
    },
    Io {
        operation: &'static str,
        from: Option<PathBuf>,
        path: PathBuf,
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn option(
        option: &'static str,
        value: impl fmt::Display,
        permitted: impl fmt::Display,
    ) -> Self {
        let (value, permitted) = (value.to_string(), permitted.to_string());
        Error(Arc::new(Kind::Option { option, value, permitted }))
    }

    /// `what` names the key and the value as they were written.
    pub(crate) fn text(option: &'static str, what: String) -> Self {
        Error(Arc::new(Kind::Text { option, what }))
    }

    /// An error of another process, as a text.
    pub(crate) fn told(what: String) -> Self {
        Error(Arc::new(Kind::Told { what }))
    }

    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Error(Arc::new(Kind::Io { operation, from: None, path: path.to_owned(), source }))
    }

    /// An operation between two paths. `to` is the path that [`path`](Self::path) returns.
    pub(crate) fn between(
        operation: &'static str,
        from: &Path,
        to: &Path,
        source: io::Error,
    ) -> Self {
        let (from, path) = (Some(from.to_owned()), to.to_owned());
        Error(Arc::new(Kind::Io { operation, from, path, source }))
    }

    /// The option that was refused or the operation that failed: `"size"`, `"rename"`, ...; `"config"` for a
    /// key that no option has, `"told"` for an error of another process ([`stats_of`](crate::stats_of())), of which only
    /// the text is known.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match &*self.0 {
            Kind::Option { option, .. } | Kind::Text { option, .. } => option,
            Kind::Told { .. } => "told",
            Kind::Io { operation, .. } => operation,
        }
    }

    /// The path of the failed operation; for a rename, the new path. `None` for an option.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &*self.0 {
            Kind::Option { .. } | Kind::Text { .. } | Kind::Told { .. } => None,
            Kind::Io { path, .. } => Some(path),
        }
    }

    /// The kind of the I/O error; [`io::ErrorKind::InvalidInput`] for an option, [`io::ErrorKind::Other`] for an error
    /// of another process.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match &*self.0 {
            Kind::Option { .. } | Kind::Text { .. } => io::ErrorKind::InvalidInput,
            Kind::Told { .. } => io::ErrorKind::Other,
            Kind::Io { source, .. } => source.kind(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Option { option, value, permitted } => {
                write!(f, "option {option} is {value}; permitted: {permitted}")
            }
            Kind::Text { what, .. } | Kind::Told { what } => f.write_str(what),
            Kind::Io { operation, from, path, source } => {
                write!(f, "{operation} ")?;
                if let Some(from) = from {
                    write!(f, "{} to ", from.display())?;
                }
                write!(f, "{}: {source}", path.display())
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Kind::Option { .. } | Kind::Text { .. } | Kind::Told { .. } => None,
            Kind::Io { source, .. } => Some(source),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// Why a record was refused. The writer keeps nothing of it: the caller still has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteError {
    /// No memory is free: the workers are behind. A later try may succeed.
    #[doc(alias = "TimeoutErr")]
    Full,
    /// The record is larger than all chunks together, so it never fits.
    TooLarge,
    /// The writer is closed.
    Closed,
    /// This process is a forked child. The workers belong to the parent process.
    Forked,
    /// A disk limit is reached: [`Config::min_free`](crate::Config::min_free) or
    /// [`Config::max_total`](crate::Config::max_total), or the disk has been full since the start
    /// ([`Config::start_on_full_disk`](crate::Config::start_on_full_disk)). A later try may succeed. No call waits for
    /// room on the disk, not even `write_timeout`.
    DiskGuard,
    /// The formatter passed to [`record`](crate::BufferedWriter::record) returned an error.
    Format,
    /// The system has no memory for what the writer keeps of each thread and producer, about 300
    /// bytes: it refuses to map a page. Only a first write needs that. A later try may succeed.
    OutOfMemory,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::Full => "the writer's memory is full, the workers are behind",
            WriteError::TooLarge => "the record is larger than the writer's memory",
            WriteError::Closed => "the writer is closed",
            WriteError::Forked => "the writer belongs to the parent process",
            WriteError::DiskGuard => {
                "a limit of the disk guard is reached (min_free or max_total), or the disk is full"
            }
            WriteError::Format => "the record's formatter returned an error",
            WriteError::OutOfMemory => "the system has no memory for another producer",
        })
    }
}

impl std::error::Error for WriteError {}

/// `Full` becomes `WouldBlock`, `TooLarge` becomes `InvalidInput`, `Closed` and `Forked` become
/// `BrokenPipe`, `DiskGuard` becomes `StorageFull`, `OutOfMemory` becomes `OutOfMemory`, `Format`
/// becomes `Other`.
impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match error {
            WriteError::Full => io::ErrorKind::WouldBlock,
            WriteError::TooLarge => io::ErrorKind::InvalidInput,
            WriteError::Closed | WriteError::Forked => io::ErrorKind::BrokenPipe,
            WriteError::DiskGuard => io::ErrorKind::StorageFull,
            WriteError::OutOfMemory => io::ErrorKind::OutOfMemory,
            WriteError::Format => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A refused message and the reason. The message is not dropped:
/// [`into_inner`](SendError::into_inner) returns it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<M> {
    pub(crate) kind: WriteError,
    pub(crate) message: M,
}

impl<M> SendError<M> {
    /// Why the message was refused.
    pub fn kind(&self) -> WriteError {
        self.kind
    }

    /// Returns the message, unchanged.
    pub fn into_inner(self) -> M {
        self.message
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<M> std::error::Error for SendError<M> {}

/// Why [`flush`](crate::BufferedWriter::flush) could not report that everything is visible. Records
/// that do not count as lost stay accepted, and the workers keep trying.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FlushError {
    /// The timeout passed, and no worker reports an error: the disk is slow.
    TimedOut,
    /// The timeout passed while this error, which is retried, held up a worker. Or records were
    /// lost during the flush: a temp file was removed or truncated, or a worker gave up
    /// ([`Config::give_up_after`](crate::Config::give_up_after)).
    Io(Error),
    /// The writer is closed.
    Closed,
    /// Called on one of the writer's own threads, in the `Drop` of a message or in
    /// [`on_error`](crate::Config::on_error). The thread would wait for itself.
    OnWorker,
    /// This process is a forked child. The workers belong to the parent process.
    Forked,
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlushError::TimedOut => f.write_str("flush: the disk did not answer in time"),
            FlushError::Io(error) => write!(f, "flush: {error}"),
            FlushError::Closed => f.write_str("flush: the writer is closed"),
            FlushError::OnWorker => f.write_str("flush: called on a worker of the writer"),
            FlushError::Forked => f.write_str("flush: the writer belongs to the parent process"),
        }
    }
}

impl std::error::Error for FlushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FlushError::Io(error) => Some(error),
            _ => None,
        }
    }
}
