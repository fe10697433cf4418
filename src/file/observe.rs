//! Reads what living and dead writers tell of themselves, for users.
//!
//! Guarantees: changes nothing, and takes no contents of a state file for granted. It holds the lock of a dead writer's
//! state file for a moment, which is shorter than the patience of a recovery.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::config::WallClock;
use crate::file::state_file::counters::{self, Counters};
use crate::file::state_file::decode::{self, DecodedState};
use crate::fs::real::RealFs;
use crate::fs::{Fs, FsFile};
use crate::naming::{self, Names, Stamp};
use crate::report::error::Error;
use crate::report::instance::{InstanceStats, Refresh};

/// A writer refreshes about once a second, and a read takes far less.
const ATTEMPTS_MAX: usize = 16;

/// Returns the counts of all writers whose temp files are in `temp`, of this and of other processes, in the order of
/// their names.
///
/// A writer tells its counts in its state file, which it refreshes about once a second while anything changes. So this
/// needs no connection to its process, and costs it nothing. The counts of this process's own writers are more exact
/// in [`BufferedWriter::stats`](crate::BufferedWriter::stats).
///
/// `temp` is the writers' [`Config::temp`](crate::Config::temp), or their `path` if `temp` is on another file system.
/// State files can be read by the user that made them, and by root. State files of other users, and files that no
/// writer has made, are passed over. A writer on a file system without locks
/// ([`Missing::locks`](crate::Missing::locks)) has no state file.
///
/// ```
/// use bufferedwriter::{BufferedWriter, Config, stats_of};
///
/// # let dir = std::env::temp_dir().join(format!("bw-doc-stats-of-{}", std::process::id()));
/// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
/// let writer = BufferedWriter::new(config)?;
/// let found = stats_of(&dir)?; // in any process
/// assert!(found[0].is_alive && found[0].pid == std::process::id());
/// if let Some(told) = &found[0].last_refresh {
///     println!("{} records are written", told.stats.written.records);
/// }
/// # writer.close(std::time::Duration::from_secs(5))?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The directory can't be listed, or a state file can't be read.
pub fn stats_of(temp: impl AsRef<Path>) -> Result<Vec<InstanceStats>, Error> {
    observe(&RealFs, temp.as_ref())
}

fn observe(fs: &dyn Fs, temp: &Path) -> Result<Vec<InstanceStats>, Error> {
    let mut names = fs.list(temp).map_err(|e| Error::io("list", temp, e))?;
    names.sort();
    let mut found = Vec::new();
    for name in names {
        let Some(named) = naming::parse_state(&name, None) else { continue };
        let path = temp.join(&name);
        match look(fs, temp, &path, &name, &named) {
            Ok(instance) => found.extend(instance),
            // It was removed meanwhile, is another user's, or is no file.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => return Err(Error::io("read", &path, error)),
        }
    }
    Ok(found)
}

/// `None` if no writer has made the file, or only begun to.
fn look(
    fs: &dyn Fs,
    temp: &Path,
    path: &Path,
    name: &OsStr,
    named: &Names,
) -> io::Result<Option<InstanceStats>> {
    if !fs.facts(path)?.is_some_and(|facts| facts.is_file) {
        return Ok(None);
    }
    let mut file = fs.open(path)?;
    let Some((state, told)) = read(&mut *file, temp)? else { return Ok(None) };
    let DecodedState { header, .. } = state;
    // A file under another name describes another writer.
    if header.names.state() != name {
        return Ok(None);
    }
    let is_alive = match file.try_lock() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
        locked => locked.map(|()| false)?,
    };
    Ok(Some(InstanceStats {
        state_file: path.to_owned(),
        path: header.path,
        prefix: header.names.prefix,
        extension: header.names.extension,
        instance: named.instance,
        pid: named.pid,
        is_alive,
        last_refresh: told,
    }))
}

fn read(file: &mut dyn FsFile, temp: &Path) -> io::Result<Option<(DecodedState, Option<Refresh>)>> {
    for _ in 0..ATTEMPTS_MAX {
        let bytes = decode::bytes(file)?;
        let Ok(state) = decode::read(&bytes) else { return Ok(None) };
        let (slots, workers) = (decode::slots(&bytes, &state.header), state.header.workers);
        let now = (Instant::now(), Stamp::read(&WallClock::default()));
        if slots.is_empty() {
            return Ok(Some((state, None)));
        }
        if let Some(counters) = counters::newest(slots, state.header.slot_bytes, workers, now) {
            let told = told(counters, &state, temp);
            return Ok(Some((state, Some(told))));
        }
        // Both slots were being written over. In a damaged file they stay so.
    }
    let bytes = decode::bytes(file)?;
    Ok(decode::read(&bytes).ok().map(|state| (state, None)))
}

/// With what only the rest of the state file says.
fn told(counters: Counters, state: &DecodedState, temp: &Path) -> Refresh {
    let Counters { times, mut stats, health } = counters;
    stats.temp_dir = temp.to_owned();
    for (worker, (stats, entry)) in stats.workers.iter_mut().zip(&state.entries).enumerate() {
        let id = entry.and_then(|entry| entry.temp).filter(|_| stats.temp_file.is_some());
        let name = |id: naming::TempId| state.header.names.temp(id.stamp, worker, id.seq);
        stats.temp_file = id.map(|id| -> PathBuf { temp.join(name(id)) });
    }
    let (started, refreshed) = (times.started.time(), times.refreshed.time());
    Refresh { started, refreshed, stats, health }
}
