//! What a planted bug consists of.

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
    /// The program's unit tests and its tests from outside.
    Program,
    /// The unit tests and integration tests of `crates/tracing`.
    Events,
    /// The unit tests and integration tests of `crates/ship`.
    Ship,
    /// A script that does something to a real disk.
    Disk,
    /// The stress program under a sanitizer.
    Sanitize,
}

impl Kind {
    /// All of them, with their names in the files.
    pub const ALL: [(Kind, &str); 10] = [
        (Kind::Loom, "loom"),
        (Kind::It, "it"),
        (Kind::Fork, "fork"),
        (Kind::Crash, "crash"),
        (Kind::Portable, "portable"),
        (Kind::Program, "program"),
        (Kind::Events, "events"),
        (Kind::Ship, "ship"),
        (Kind::Disk, "disk"),
        (Kind::Sanitize, "sanitize"),
    ];

    pub(super) fn parse(name: &str) -> Option<Kind> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|&(kind, _)| kind)
    }

    /// Its name in the files.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |&(_, name)| name)
    }

    /// How many checks of each kind the bugs have.
    pub fn count(bugs: &[Bug]) -> [(Kind, usize); 10] {
        let checks = || bugs.iter().flat_map(|bug| &bug.checks);
        Self::ALL.map(|(kind, _)| (kind, checks().filter(|check| check.kind == kind).count()))
    }
}
