//! What dead writers left in `temp`.
//!
//! Guarantees: nothing is changed, and the files of live writers are no left-overs.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bufferedwriter::{FileName, RecoverOptions, SkipReason, recover};

use crate::commands::verify::problems::{Kind, Problem};

/// Looks at the hidden files of these directories, `temp` among them.
pub(super) fn check(
    dir: &Path,
    temp: &Path,
    memory: Option<&Path>,
    hidden: &[PathBuf],
) -> Vec<Problem> {
    let mut problems = dead_writers(dir, temp, memory);
    let known: HashSet<&OsStr> = hidden.iter().filter_map(|path| path.file_name()).collect();
    let told: HashSet<PathBuf> = problems.iter().map(|problem| problem.path.clone()).collect();
    for path in hidden.iter().filter(|path| !told.contains(*path)) {
        let Some(name) = path.file_name() else { continue };
        let what = if name.as_bytes().ends_with(b".aside") {
            "set aside by a recovery, which could not trust it: look at it, then remove it"
        } else if state_of(name).is_some_and(|state| !known.contains(OsStr::from_bytes(&state))) {
            "an unfinished file whose writer is not known any more"
        } else {
            continue;
        };
        problems.push(Problem::new(Kind::LeftOver, path, what));
    }
    problems
}

/// What a recovery would do.
fn dead_writers(dir: &Path, temp: &Path, memory: Option<&Path>) -> Vec<Problem> {
    let mut options = RecoverOptions::new(dir, temp).dry_run(true);
    if let Some(memory) = memory {
        options = options.memory(memory);
    }
    let recovery = match recover(&options) {
        Ok(recovery) => recovery,
        Err(error) => return vec![Problem::new(Kind::LeftOver, temp, error.to_string())],
    };
    let mut problems = Vec::new();
    let mut tell =
        |path: &Path, what: String| problems.push(Problem::new(Kind::LeftOver, path, what));
    for path in &recovery.published {
        tell(path, "left by a dead writer: `bufferedwriter recover` publishes it".to_owned());
    }
    for path in &recovery.set_aside {
        tell(path, "left by a dead writer, and can't be trusted".to_owned());
    }
    // Files of writers with another path are none of this directory.
    for skipped in recovery.skipped.iter().filter(|it| it.reason != SkipReason::OtherPath) {
        tell(&skipped.path, format!("can't be recovered: {}", skipped.reason));
    }
    for error in &recovery.errors {
        tell(error.path().unwrap_or(temp), format!("can't be looked at: {error}"));
    }
    let dead = recovery.instances;
    if dead > 0 && recovery.published.is_empty() && recovery.set_aside.is_empty() {
        tell(
            temp,
            format!("state files of {dead} dead writers: `bufferedwriter recover` removes them"),
        );
    }
    problems
}

/// The name of the state file of the writer of a temp file; `None` for other names.
fn state_of(name: &OsStr) -> Option<Vec<u8>> {
    let visible = name.as_bytes().strip_prefix(b".")?.strip_suffix(b".tmp")?;
    let FileName { prefix, instance, pid, .. } = FileName::parse(OsStr::from_bytes(visible))?;
    let mut state = b".".to_vec();
    state.extend_from_slice(prefix.as_bytes());
    state.extend_from_slice(format!("{instance:016x}-{pid}.state").as_bytes());
    Some(state)
}
