//! The options in groups, one for each part of a writer that reads them. The setters of `Config`
//! say what each option means.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Boundary, Compression, CrashProof, Durability, Io, Recorder};
use crate::fs::Fs;
use crate::report::health::OnError;
use crate::report::published::OnPublish;

/// The name of the default time zone.
pub(crate) const UTC: &str = "UTC";

/// Sizes of the memory, for `writer/budget.rs` and `writer/open.rs`.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) size: usize,
    pub(crate) queue_size: usize,
    pub(crate) workers: usize,
    pub(crate) crash_proof: CrashProof,
    pub(crate) populate: bool,
    pub(crate) recorder: Recorder,
    pub(crate) dump_on_close: bool,
}

/// Where files are and how they are made, for `worker/output`.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) create_dirs: bool,
    pub(crate) prefix: OsString,
    pub(crate) extension: OsString,
    pub(crate) mode: u32,
    pub(crate) file_size: u64,
    pub(crate) file_age: Duration,
    pub(crate) forced: Duration,
    pub(crate) rotate_at: Boundary,
    pub(crate) time_zone: String,
    /// Empty = none.
    pub(crate) partition: String,
    /// Names and values for it.
    pub(crate) partition_values: Vec<(String, String)>,
    pub(crate) durability: Durability,
    pub(crate) io: Io,
    pub(crate) compression: Compression,
    /// Shared by all files, so that none copies it.
    pub(crate) envelope: Arc<Envelope>,
}

/// What stands in each file besides records. Empty = nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) header: Vec<u8>,
    pub(crate) footer: Vec<u8>,
}

impl Envelope {
    /// Whether files hold nothing but records.
    pub(crate) fn is_empty(&self) -> bool {
        self.header.is_empty() && self.footer.is_empty()
    }
}

/// The limits of the quota, for `worker/quota/mod.rs`. 0 = off.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) min_free: u64,
    pub(crate) max_total: u64,
}

/// Which published files stay, for `housekeeping/retention.rs`. 0 = all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retain {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
    pub(crate) age: Duration,
    /// Files go though the hook has not acknowledged them.
    pub(crate) ignores_hook: bool,
}

impl Retain {
    /// Whether there is a rule by which files are deleted.
    pub(crate) fn is_on(&self) -> bool {
        self.bytes > 0 || self.files > 0 || !self.age.is_zero()
    }
}

/// What happens to published files, for `housekeeping`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aftercare {
    pub(crate) retain: Retain,
    /// The link to the newest file.
    pub(crate) latest: Option<PathBuf>,
}

/// What happens to records when the disk fails, for `worker/retry.rs`.
#[derive(Clone, Debug, Default)]
pub(crate) struct OnFailure {
    pub(crate) give_up_after: Duration,
    pub(crate) on_error: OnError,
}

/// Who hears of published files, for `housekeeping`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Publishing {
    pub(crate) on_publish: OnPublish,
    pub(crate) manifest: Option<PathBuf>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory {
            size: 8192,
            queue_size: 1024,
            workers: 8,
            crash_proof: CrashProof::Off,
            populate: false,
            recorder: Recorder::Off,
            dump_on_close: false,
        }
    }
}

impl Memory {
    /// The number of chunks of the writer.
    pub(crate) fn chunks(&self) -> usize {
        let kept = match self.recorder {
            Recorder::Last(bytes) => bytes.div_ceil(self.size.max(1)),
            _ => 0,
        };
        self.queue_size.saturating_add(self.threads()).saturating_add(kept)
    }

    /// The number of workers: a recorder needs one.
    pub(crate) fn threads(&self) -> usize {
        if self.recorder == Recorder::Off { self.workers } else { 1 }
    }

    /// Most chunks in use while a recorder dumps nothing. `None` if this is no recorder.
    pub(crate) fn keeps(&self) -> Option<usize> {
        match self.recorder {
            Recorder::Off => None,
            Recorder::Last(bytes) => Some(bytes.div_ceil(self.size.max(1)).max(1)),
            Recorder::Whole => Some((self.chunks() - self.chunks().div_ceil(8)).max(1)),
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Files {
            path: std::env::temp_dir(),
            temp: std::env::temp_dir(),
            create_dirs: false,
            prefix: OsString::new(),
            extension: OsString::from("log"),
            mode: 0o600,
            file_size: 64 << 20,
            file_age: Duration::from_secs(10),
            forced: Duration::ZERO,
            rotate_at: Boundary::Never,
            time_zone: UTC.to_owned(),
            partition: String::new(),
            partition_values: Vec::new(),
            durability: Durability::None,
            io: Io::Auto,
            compression: Compression::None,
            envelope: Arc::default(),
        }
    }
}

impl Files {
    /// What the names of files end with, after the dot: the extension, and that of the compression.
    pub(crate) fn extensions(&self) -> OsString {
        let suffix = self.compression.suffix();
        let mut all = self.extension.clone();
        if !all.is_empty() && !suffix.is_empty() {
            all.push(".");
        }
        all.push(suffix);
        all
    }

    /// The age at which a record must be visible: the shorter of `forced` and `file_age`.
    pub(crate) fn age_max(&self) -> Option<Duration> {
        [self.forced, self.file_age].into_iter().filter(|age| !age.is_zero()).min()
    }
}

/// The file system under a writer. A test may replace it.
#[derive(Clone)]
pub(crate) struct FsHandle(pub(crate) Arc<dyn Fs>);

impl fmt::Debug for FsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fs")
    }
}

/// Where the wall-clock time comes from, as time since the epoch. `None` = the system. A test may
/// replace it.
#[derive(Clone, Default)]
pub(crate) struct WallClock(pub(crate) Option<Arc<dyn Fn() -> Duration + Send + Sync>>);

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}
