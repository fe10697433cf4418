//! Makes room before a start that lacked some is tried again.
//!
//! Guarantees: does what the writer would do after its start, for the same directories and prefix, and no more:
//! it recovers dead writers, and deletes the old files that retention deletes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Config, SHM};
use crate::file::publish;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::housekeeping::protection::Protector;
use crate::housekeeping::retention::Retention;
use crate::naming::zone::time_zone;
use crate::naming::{Names, Partition};
use crate::recovery::audience::Audience;
use crate::recovery::background::Task;
use crate::report::error::Error;
use crate::report::recovery::Recovery;

/// The directories, as a writer finds them.
struct Found {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    temp: PathBuf,
    names: Names,
}

/// Recovers dead writers. `None` if a directory can't be found, which the error of the start says better.
pub(super) fn recover(config: &Config) -> Option<Recovery> {
    let Found { fs, path, temp, names } = find(config).ok()?;
    let own = config.memory.crash_proof.dir();
    let own = own.and_then(|dir| publish::directory(&*fs, dir).ok());
    let memory = own.into_iter().chain([PathBuf::from(SHM)]).collect();
    // The dead writers had their files in `path` if `temp` was on another file system.
    let temps = if temp == path { vec![temp] } else { vec![temp, path.clone()] };
    let (audience, notices, so_far) = (Audience::default(), None, Recovery::default());
    Some(Task { fs, path, temps, memory, names, audience, notices, so_far }.run())
}

/// Deletes the old files that must go. Returns whether any went.
pub(super) fn retain(config: &Config) -> bool {
    let Ok(retention) = retention(config) else { return false };
    let mut deleted = 0;
    retention.pass(&|| false, &mut |_| deleted += 1);
    deleted > 0
}

fn retention(config: &Config) -> Result<Retention, Error> {
    let Config { files, aftercare, wall_clock, .. } = config;
    let Found { fs, path, temp, names } = find(config)?;
    let zone = time_zone(&files.time_zone)?;
    let partition =
        Partition::new(&files.partition, &files.partition_values, &files.time_zone, zone)?;
    let retain = aftercare.retain;
    let protector = Protector {
        fs: fs.clone(),
        path: path.clone(),
        temp,
        names: names.clone(),
        publications: None,
        is_recovered: Box::new(|| true),
    };
    Ok(Retention {
        fs,
        path,
        depth: partition.map_or(0, |partition| partition.template().depth()),
        names,
        by_len: false,
        rules: retain,
        clock: wall_clock.clone(),
        protection: protector.into_protection(),
    })
}

fn find(config: &Config) -> Result<Found, Error> {
    let Config { files, fs, .. } = config;
    let fs = fs.clone().map_or_else(|| Arc::new(RealFs) as _, |fs| fs.0);
    let path = publish::directory(&*fs, &files.path)?;
    let temp = publish::directory(&*fs, &files.temp)?;
    Ok(Found { fs, path, temp, names: Names::new(&files.prefix, &files.extensions())? })
}
