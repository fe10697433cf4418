//! Options of a shipper, as plain data. Checked once, by `Shipper::new`.

use std::path::PathBuf;
use std::time::Duration;

use crate::report::Error;

/// What becomes of a file that was shipped and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum After {
    /// It stays. Retention of its writer, or somebody else, deletes it.
    #[default]
    Keep,
    /// It is deleted at once.
    Delete,
    /// It is deleted at this age, which is that of its last change. It is compared once more before.
    KeepFor(Duration),
}

/// Options of a [`Shipper`](crate::Shipper).
///
/// ```
/// use bufferedwriter_ship::{After, Config};
///
/// let config = Config::new("/var/log/app/ready").after(After::Delete).concurrency(8);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) from: PathBuf,
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) concurrency: usize,
    pub(crate) multipart: u64,
    pub(crate) part: u64,
    pub(crate) rate: Option<u64>,
    pub(crate) after: After,
    pub(crate) rescan: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) attempts: Option<u32>,
}

impl Config {
    /// Files of this directory and those below it, which is a writer's `path`.
    pub fn new(from: impl Into<PathBuf>) -> Self {
        Config {
            from: from.into(),
            manifest: None,
            journal: None,
            concurrency: 4,
            multipart: 16 << 20,
            part: 16 << 20,
            rate: None,
            after: After::Keep,
            rescan: Duration::from_secs(60),
            backoff_max: Duration::from_secs(30),
            attempts: None,
        }
    }

    /// The manifest of the writer. A file whose length differs from its line is told as a conflict and not shipped.
    /// Records of shipped files are counted from it. Default: none.
    #[must_use]
    pub fn manifest(mut self, path: impl Into<PathBuf>) -> Self {
        self.manifest = Some(path.into());
        self
    }

    /// Where to remember what was shipped. It saves requests after a restart, and names uploads that a killed shipper
    /// began. Default: a hidden file beside `from`, one for each destination.
    #[must_use]
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Files that are uploaded at the same time, 1 to 256. Default: 4. Fewer while the store says "slow down".
    #[must_use]
    pub fn concurrency(mut self, files: usize) -> Self {
        self.concurrency = files;
        self
    }

    /// Files longer than this are uploaded in parts. In bytes, at most 5 GiB. Default: 16 MiB.
    #[must_use]
    pub fn multipart(mut self, bytes: u64) -> Self {
        self.multipart = bytes;
        self
    }

    /// The length of a part in bytes, at most 1 GiB. Default: 16 MiB. S3 wants 5 MiB or more, and 10,000 parts at most;
    /// parts of a file that would need more are larger.
    #[must_use]
    pub fn part(mut self, bytes: u64) -> Self {
        self.part = bytes;
        self
    }

    /// At most this many bytes a second, over all files. Default: no limit.
    #[must_use]
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// What becomes of a shipped file. Default: [`After::Keep`].
    #[must_use]
    pub fn after(mut self, after: After) -> Self {
        self.after = after;
        self
    }

    /// How often to list the directory, besides the system's news of it. Default: 60 s.
    #[must_use]
    pub fn rescan(mut self, every: Duration) -> Self {
        self.rescan = every;
        self
    }

    /// The longest pause after an error. Default: 30 s. The first is 100 ms at most, and each is random.
    #[must_use]
    pub fn backoff_max(mut self, pause: Duration) -> Self {
        self.backoff_max = pause;
        self
    }

    /// Give a file up after this many attempts, until the next start. Default: never.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let ranges = [
            ("concurrency", (1..=256).contains(&self.concurrency), "1 to 256"),
            ("multipart", self.multipart <= 5 << 30, "at most 5 GiB"),
            ("part", (1..=1 << 30).contains(&self.part), "1 byte to 1 GiB"),
            ("rate", self.rate != Some(0), "at least 1 byte a second"),
            ("rescan", !self.rescan.is_zero(), "more than 0"),
            ("attempts", self.attempts != Some(0), "at least 1"),
        ];
        match ranges.iter().find(|(_, is_right, _)| !is_right) {
            Some((option, _, permitted)) => {
                Err(Error::new("check", option.to_string(), format!("permitted is {permitted}")))
            }
            None => Ok(()),
        }
    }
}
