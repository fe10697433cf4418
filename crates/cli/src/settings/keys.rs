//! One option of a file or of the environment, and the names that options have.

use std::any::TypeId;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};

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

/// What a value of TOML must be for an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number, or text with a number and its unit.
    Number,
    /// Text. A number could be meant in several ways: `mode = 640`.
    Text,
    /// Text, or whether the option is given, as its flag needs no value.
    MaybeText,
}

impl Kind {
    pub(crate) fn of(arg: &Arg) -> Self {
        let id = arg.get_value_parser().type_id();
        if id == TypeId::of::<bool>() {
            return Kind::Switch;
        }
        if [TypeId::of::<u64>(), TypeId::of::<usize>(), TypeId::of::<Duration>()]
            .iter()
            .any(|of| id == *of)
        {
            return Kind::Number;
        }
        let may_lack = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
        if may_lack { Kind::MaybeText } else { Kind::Text }
    }

    /// What is expected, for an error.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Switch => "true or false",
            Kind::Number => "a whole number, or text with a number and its unit",
            Kind::Text => "text in quotes",
            Kind::MaybeText => "text in quotes, true or false",
        }
    }
}

/// Whether a file or a variable may have it.
fn is_key(arg: &Arg) -> bool {
    !NO_KEYS.contains(&arg.get_id().as_str())
}

/// The option of this name. `place` is what the user wrote. The error is a complete message.
pub(super) fn known<'a>(command: &'a Command, key: &str, place: &str) -> Result<&'a Arg, String> {
    let mut options = command.get_arguments().filter(|arg| is_key(arg));
    if let Some(known) = options.find(|arg| arg.get_id() == key) {
        return Ok(known);
    }
    let near = |known: &&str| strsim::jaro_winkler(known, &key.replace('-', "_")) > 0.85;
    let by = |a: &&str, b: &&str| strsim::jaro(a, key).total_cmp(&strsim::jaro(b, key));
    let names = command.get_arguments().filter(|arg| is_key(arg)).map(|arg| arg.get_id().as_str());
    Err(match names.filter(near).max_by(by) {
        Some(meant) => format!("{place}: unknown key `{key}`, did you mean `{meant}`?"),
        None => format!("{place}: unknown key `{key}`"),
    })
}
