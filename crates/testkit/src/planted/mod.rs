//! Planted bugs: small patches of the source, each of which must turn a test red. They show that the
//! tests see what they are there to see. `planted/README.md` describes the files that hold them.
//!
//! Here are the list of all bugs and the patched text; the program `planted` builds and runs.

mod apply;
mod parse;
mod rule;
mod test_names;

#[cfg(test)]
mod present_tests;

pub use apply::apply;
pub use test_names::test_names;

use std::fs;
use std::path::Path;

/// A bug to plant, and what must notice it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bug {
    /// What is wrong, in words. Unique.
    pub name: String,
    /// Each of these must fail.
    pub checks: Vec<Check>,
    /// The patch.
    pub hunks: Vec<Hunk>,
}

/// Lines of a file, and the lines in their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Hunk {
    /// From the root of the repository.
    pub file: String,
    /// Where in the file the lines are searched.
    pub scope: Scope,
    /// The lines that must be there, at exactly one place: context and removed ones.
    pub old: Vec<String>,
    /// What is there afterwards: context and added ones.
    pub new: Vec<String>,
}

/// The part of a file in which a hunk's lines are searched.
#[derive(Clone, Debug, PartialEq)]
pub enum Scope {
    /// All of it.
    File,
    /// The items whose first line contains this, such as `fn drop` or `impl Drop for Handle`.
    Item(String),
    /// The one line with this index.
    Line(usize),
}

/// What must fail while a bug is planted.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is run.
    pub kind: Kind,
    /// Filters of tests, or the script and its arguments, or the sanitizer.
    pub args: Vec<String>,
}

/// What is run to notice a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The loom models.
    Loom,
    /// The unit tests and the integration tests.
    It,
    /// The program of forks.
    Fork,
    /// The processes that are killed.
    Crash,
    /// The unit tests under `--cfg bufferedwriter_portable`.
    Portable,
    /// A script that does something to a real disk.
    Disk,
    /// The stress program under a sanitizer.
    Sanitize,
}

impl Kind {
    /// All of them, with their names in the files.
    pub const ALL: [(Kind, &str); 7] = [
        (Kind::Loom, "loom"),
        (Kind::It, "it"),
        (Kind::Fork, "fork"),
        (Kind::Crash, "crash"),
        (Kind::Portable, "portable"),
        (Kind::Disk, "disk"),
        (Kind::Sanitize, "sanitize"),
    ];

    fn parse(name: &str) -> Option<Kind> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|&(kind, _)| kind)
    }

    /// Its name in the files.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |&(_, name)| name)
    }

    /// How many checks of each kind the bugs have.
    pub fn count(bugs: &[Bug]) -> [(Kind, usize); 7] {
        let checks = || bugs.iter().flat_map(|bug| &bug.checks);
        Self::ALL.map(|(kind, _)| (kind, checks().filter(|check| check.kind == kind).count()))
    }
}

/// All bugs of the files `planted/*.bugs` below `root`, in the order of the files' names, with those that
/// rules make of the source as it is.
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

/// Where `word` first stands in a line as a whole word.
fn find_word(line: &str, word: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .map(|(at, _)| at)
        .find(|&at| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}
