//! One option of a file or of the environment, and the names that options have.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::Command;

/// Positional arguments, and what the file itself can't say.
const NO_KEYS: [&str; 2] = ["inputs", "config"];

/// The only option that is a table in a file: names with values.
pub(crate) const PARTITION_VALUE: &str = "partition_value";

/// Where an option stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Variable(name) => f.write_str(name),
        }
    }
}

/// An option that stands in a file or in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The name of its field, as in `Config`.
    pub(crate) key: String,
    pub(crate) value: OsString,
    pub(crate) source: Source,
}

impl Setting {
    /// What the command line would say.
    pub(super) fn flag(&self) -> OsString {
        let mut flag = OsString::from(format!("--{}=", self.key.replace('_', "-")));
        flag.push(&self.value);
        flag
    }
}

/// The names of all options that a file or a variable may have.
fn keys(command: &Command) -> impl Iterator<Item = &str> {
    let ids = command.get_arguments().map(|arg| arg.get_id().as_str());
    ids.filter(|id| !NO_KEYS.contains(id))
}

/// Whether there is such an option. `place` is what the user wrote. The error is a complete message.
pub(super) fn known(command: &Command, key: &str, place: &str) -> Result<(), String> {
    if keys(command).any(|known| known == key) {
        return Ok(());
    }
    let near = |known: &&str| strsim::jaro_winkler(known, &key.replace('-', "_")) > 0.85;
    let by = |a: &&str, b: &&str| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key));
    Err(match keys(command).filter(near).max_by(by) {
        Some(meant) => format!("{place}: unknown key `{key}`, did you mean `{meant}`?"),
        None => format!("{place}: unknown key `{key}`"),
    })
}
