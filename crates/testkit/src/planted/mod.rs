//! Planted bugs: small patches of the source, each of which must turn a test red. They show that the
//! tests see what they are there to see. `planted/README.md` describes the files that hold them.
//!
//! Here are the list of all bugs and the patched text; the program `planted` builds and runs.
//!
//! Each module uses those before it: `bug`, `apply`, `rule`, `parse`. `test_names` stands alone.

mod apply;
mod bug;
mod parse;
mod rule;
mod test_names;

pub use apply::apply;
pub use bug::{Bug, Check, Hunk, Kind, Scope};
pub use test_names::test_names;

use std::fs;
use std::path::Path;

/// All bugs of the files `planted/*.bugs` below `root`, in the order of the files' names. Those that rules make
/// of the current source are among them.
///
/// # Errors
/// A file can't be read, or isn't what `planted/README.md` describes.
pub fn load(root: &Path) -> Result<Vec<Bug>, String> {
    let dir = root.join("planted");
    let told = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&dir).map_err(told)? {
        names.push(entry.map_err(told)?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.ends_with(".bugs"));
    names.sort();
    let mut bugs = Vec::new();
    for name in names {
        let origin = format!("planted/{name}");
        for entry in parse::parse(&origin, &read(root, &origin)?)? {
            match entry {
                parse::Entry::Bug(bug) => bugs.push(bug),
                parse::Entry::Rule(rule) => bugs.extend(rule.expand(|file| read(root, file))?),
            }
        }
    }
    Ok(bugs)
}

/// The text of a file below `root`.
///
/// # Errors
/// It can't be read.
pub fn read(root: &Path, file: &str) -> Result<String, String> {
    fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))
}
