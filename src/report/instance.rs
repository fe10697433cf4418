//! What a writer tells other processes of itself. Plain values: no atomics, no locks.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::report::health::Health;
use crate::report::stats::Stats;

/// A writer of any process, as its state file describes it: see [`stats_of`](crate::stats_of()).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstanceStats {
    /// The file that says all this.
    pub state_file: PathBuf,
    /// Directory in which the writer's files become visible, as the writer's process sees it.
    pub path: PathBuf,
    /// First part of the names of its files: [`Config::prefix`](crate::Config::prefix).
    pub prefix: OsString,
    /// Last part of these names, without the dot, with that of the compression.
    pub extension: OsString,
    /// The random number of the writer. It is in the names of its files.
    pub instance: u64,
    /// Number of its process, in the container where that runs. It does not prove that the process lives.
    pub pid: u32,
    /// Whether the writer lives: it holds the lock of its state file. A dead one is there until somebody
    /// [recovers](crate::recover) its files, and its counts are those of its last refresh.
    pub is_alive: bool,
    /// What the writer counted. `None` if it tells nothing: it was made by an older version of this library.
    pub last_refresh: Option<Refresh>,
}

/// The counts of a writer at its last refresh.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refresh {
    /// When the writer was started.
    pub started: SystemTime,
    /// When it counted. A writer refreshes about once a second while anything changes, and not at all while nothing
    /// does.
    pub refreshed: SystemTime,
    /// The counts. Errors are told as their texts, which may be cut.
    pub stats: Stats,
    /// What holds workers up, in the same way.
    pub health: Health,
}
