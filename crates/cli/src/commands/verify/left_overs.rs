//! What dead writers left in `temp`.
//!
//! Guarantees: nothing is changed, and the files of live writers are no left-overs.

use std::collections::HashSet;
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
    // Other names are those of no text; a recovery knows them.
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let known: HashSet<String> = hidden.iter().filter_map(|path| name(path)).collect();
    let told: HashSet<PathBuf> = problems.iter().map(|problem| problem.path.clone()).collect();
    for path in hidden.iter().filter(|path| !told.contains(*path)) {
        let Some(name) = name(path) else { continue };
        let what = if name.ends_with(".aside") {
            "set aside by a recovery, which could not trust it: look at it, then remove it"
        } else if state_of(&name).is_some_and(|state| !known.contains(&state)) {
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
fn state_of(name: &str) -> Option<String> {
    let visible = name.strip_prefix('.')?.strip_suffix(".tmp")?;
    let FileName { prefix, instance, pid, .. } = FileName::parse(visible)?;
    Some(format!(".{}{instance:016x}-{pid}.state", prefix.to_str()?))
}
