//! Prints the options of `write` as they hold, each with the place where it stands.
//!
//! Guarantees: what it prints is a file for `--config` that says the same.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use toml::Value;

use crate::commands::write::args::Write;
use crate::exit;
use crate::settings::{Kind, PARTITION_VALUE, Setting, optional};

/// Print the options that `write` would have with these arguments, and where each comes from
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    #[command(flatten)]
    write: Write,
}

/// What the options come from.
pub(crate) struct Origins<'a> {
    /// The arguments behind the name of the command.
    pub(crate) flags: &'a [OsString],
    /// Those of the file and the environment.
    pub(crate) settings: &'a [Setting],
}

/// Prints the options of these matches. Returns the exit code.
pub(crate) fn run(matches: &ArgMatches, origins: &Origins<'_>) -> u8 {
    match std::io::stdout().write_all(text(matches, origins).as_bytes()) {
        Ok(()) => exit::WRITTEN,
        Err(_) => exit::IO,
    }
}

fn text(matches: &ArgMatches, origins: &Origins<'_>) -> String {
    let (mut text, mut pairs) = (String::new(), String::new());
    let command = Write::augment_args(Command::new("write"));
    let given = optional(command.clone()).ignore_errors(true);
    let name = OsString::from("write");
    let flags = given.get_matches_from(std::iter::once(&name).chain(origins.flags));
    let arguments = command.get_arguments();
    // Writing to a string can't fail.
    for arg in arguments.filter(|arg| !arg.is_positional() && arg.get_id() != "config") {
        let key = arg.get_id().as_str();
        let is_flag = flags.value_source(key) == Some(ValueSource::CommandLine);
        let setting = origins.settings.iter().rfind(|setting| setting.key == key);
        let from = match setting {
            _ if is_flag => "flag".to_owned(),
            Some(setting) => setting.source.to_string(),
            None => "default".to_owned(),
        };
        match matches.get_raw(key) {
            Some(values) if key == PARTITION_VALUE => {
                pairs = table(values, &from);
            }
            Some(mut values) => {
                let value = shown(values.next_back().unwrap_or_default(), Kind::of(arg));
                let _ = writeln!(text, "{:40} # {from}", format!("{key} = {value}"));
            }
            None => {
                let _ = writeln!(text, "{:40} # not set", format!("# {key}"));
            }
        }
    }
    text + &pairs
}

/// Names and values of partitions. Of several values for a name the last one counts.
fn table<'a>(values: impl Iterator<Item = &'a OsStr>, from: &str) -> String {
    let mut pairs = BTreeMap::new();
    for value in values {
        let value = value.to_string_lossy();
        let (name, value) = value.split_once('=').unwrap_or((&value, ""));
        pairs.insert(name.to_owned(), shown(OsStr::new(value), Kind::Text));
    }
    let lines = pairs.iter().map(|(name, value)| format!("{name} = {value}\n"));
    format!("\n[{PARTITION_VALUE}] # {from}\n{}", lines.collect::<String>())
}

/// A value of TOML. Bytes that are no text can't stand in such a file.
fn shown(value: &OsStr, kind: Kind) -> String {
    let text = value.to_string_lossy();
    let stands_alone = match kind {
        Kind::Switch => true,
        Kind::Number => text.parse::<i64>().is_ok_and(|number| number.to_string() == text),
        Kind::Text | Kind::MaybeText => false,
    };
    if stands_alone { text.into_owned() } else { Value::String(text.into_owned()).to_string() }
}
