//! The table of the options that are data, by the names of their setters: how each is read and shown.
//!
//! Guarantees: a key for each setter, but for those of closures. A value is refused with its key; ranges are
//! left to `check.rs`. Files, the environment and the program all read options through this table.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::sys::names;
use crate::config::text::{ParseError, count, duration, mode, show_duration, show_size, size};
use crate::config::words::{crash_proof, show_crash_proof};
use crate::config::{Config, CrashProof, Recorder};

/// A value as it stands in a file or in the environment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(OsString),
    Number(u64),
    Flag(bool),
    /// Names and values.
    Map(Vec<(String, Value)>),
    /// `null`, or an option without a value.
    Nothing,
}

/// One option.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) set: fn(&mut Config, Value) -> Result<(), ParseError>,
    pub(crate) show: fn(&Config) -> Value,
}

/// The option of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// A way to read a field and to show it.
trait Kind<T> {
    fn read(value: Value) -> Result<T, ParseError>;
    fn show(field: &T) -> Value;
}

/// A field of `Config`, its name and its kind.
macro_rules! key {
    ($name:literal, $kind:ident, $($field:ident).+) => {
        Key {
            name: $name,
            set: |config, value| {
                config.$($field).+ = $kind::read(value)?;
                Ok(())
            },
            show: |config| $kind::show(&config.$($field).+),
        }
    };
}

/// In the order of the groups.
pub(crate) const KEYS: &[Key] = &[
    key!("size", Size, memory.size),
    key!("queue_size", Count, memory.queue_size),
    key!("workers", Count, memory.workers),
    key!("crash_proof", Memory, memory.crash_proof),
    key!("populate", Flag, memory.populate),
    key!("recorder", Ring, memory.recorder),
    key!("dump_on_close", Flag, memory.dump_on_close),
    key!("path", FilePath, files.path),
    key!("temp", FilePath, files.temp),
    key!("create_dirs", Flag, files.create_dirs),
    key!("prefix", Affix, files.prefix),
    key!("extension", Affix, files.extension),
    key!("mode", Mode, files.mode),
    key!("file_size", Size, files.file_size),
    key!("file_age", Time, files.file_age),
    key!("forced", Time, files.forced),
    key!("rotate_at", Word, files.rotate_at),
    key!("time_zone", Word, files.time_zone),
    key!("partition", Word, files.partition),
    key!("durability", Word, files.durability),
    key!("io", Word, files.io),
    key!("compression", Word, files.compression),
    Key {
        name: "header",
        set: |config, value| {
            Arc::make_mut(&mut config.files.envelope).header = Bytes::read(value)?;
            Ok(())
        },
        show: |config| Bytes::show(&config.files.envelope.header),
    },
    Key {
        name: "footer",
        set: |config, value| {
            Arc::make_mut(&mut config.files.envelope).footer = Bytes::read(value)?;
            Ok(())
        },
        show: |config| Bytes::show(&config.files.envelope.footer),
    },
    key!("min_free", Size, limits.min_free),
    key!("max_total", Size, limits.max_total),
    key!("retain_bytes", Size, aftercare.retain.bytes),
    key!("retain_files", Count, aftercare.retain.files),
    key!("retain_age", Time, aftercare.retain.age),
    Key {
        name: "retain_unacknowledged",
        set: |config, value| {
            config.aftercare.retain.ignores_hook = !Flag::read(value)?;
            Ok(())
        },
        show: |config| Flag::show(&!config.aftercare.retain.ignores_hook),
    },
    key!("latest", MaybePath, aftercare.latest),
    key!("give_up_after", Time, on_failure.give_up_after),
    key!("manifest", MaybePath, publishing.manifest),
    key!("recover", Flag, recover),
    key!("start_on_full_disk", Flag, start_on_full_disk),
    key!("drop_timeout", Time, drop_timeout),
    // The last one, since TOML has tables after all else.
    Key { name: PARTITION_VALUE, set: add_partition_values, show: partition_values },
];

/// The table of names and values. `partition_value.app` is one of them.
pub(crate) const PARTITION_VALUE: &str = "partition_value";

fn add_partition_values(config: &mut Config, value: Value) -> Result<(), ParseError> {
    let Value::Map(pairs) = value else {
        return Err(ParseError::new(
            "needs a name, as in partition_value.app, or a table of names",
        ));
    };
    for (name, value) in pairs {
        let value = Word::read(value)?;
        config.files.partition_values.retain(|(other, _)| *other != name);
        config.files.partition_values.push((name, value));
    }
    Ok(())
}

fn partition_values(config: &Config) -> Value {
    let mut pairs: Vec<(String, Value)> = Vec::new();
    for (name, value) in &config.files.partition_values {
        // As with the setter, the last one counts.
        pairs.retain(|(other, _)| other != name);
        pairs.push((name.clone(), Value::Text(value.into())));
    }
    if pairs.is_empty() { Value::Nothing } else { Value::Map(pairs) }
}

/// Any text.
fn any(value: Value) -> Result<OsString, ParseError> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Number(_) | Value::Flag(_) => Err(ParseError::new("must be text, in quotes")),
        Value::Map(_) => Err(ParseError::new("must be text, not a table")),
        Value::Nothing => Err(ParseError::new("has no value")),
    }
}

fn utf8(value: Value) -> Result<String, ParseError> {
    any(value)?.into_string().map_err(|_| ParseError::new("must be UTF-8"))
}

/// Bytes, as a number or with a unit.
struct Size;

impl Kind<u64> for Size {
    fn read(value: Value) -> Result<u64, ParseError> {
        match value {
            Value::Number(bytes) => Ok(bytes),
            other => size(&utf8(other)?),
        }
    }

    fn show(field: &u64) -> Value {
        Value::Text(show_size(*field).into())
    }
}

impl Kind<usize> for Size {
    fn read(value: Value) -> Result<usize, ParseError> {
        let bytes: u64 = Size::read(value)?;
        // What exceeds the address space is out of range too, and `check` says so.
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn show(field: &usize) -> Value {
        Size::show(&(*field as u64))
    }
}

struct Count;

impl<N: FromStr + TryFrom<u64> + Copy> Kind<N> for Count
where
    u64: TryFrom<N>,
{
    fn read(value: Value) -> Result<N, ParseError> {
        match value {
            Value::Number(number) => {
                number.try_into().map_err(|_| ParseError::new("does not fit the address space"))
            }
            other => count(&utf8(other)?),
        }
    }

    fn show(field: &N) -> Value {
        Value::Number(u64::try_from(*field).unwrap_or(u64::MAX))
    }
}

struct Flag;

impl Kind<bool> for Flag {
    fn read(value: Value) -> Result<bool, ParseError> {
        match value {
            Value::Flag(flag) => Ok(flag),
            Value::Text(text) if text == "true" => Ok(true),
            Value::Text(text) if text == "false" => Ok(false),
            _ => Err(ParseError::new("not true or false")),
        }
    }

    fn show(field: &bool) -> Value {
        Value::Flag(*field)
    }
}

struct Time;

impl Kind<Duration> for Time {
    fn read(value: Value) -> Result<Duration, ParseError> {
        match value {
            // 0 passes, other numbers lack a unit.
            Value::Number(number) => duration(&number.to_string()),
            other => duration(&utf8(other)?),
        }
    }

    fn show(field: &Duration) -> Value {
        Value::Text(show_duration(*field).into())
    }
}

/// Text, since a number could be meant as octal or as decimal.
struct Mode;

impl Kind<u32> for Mode {
    fn read(value: Value) -> Result<u32, ParseError> {
        match value {
            Value::Number(_) => {
                Err(ParseError::new("must be octal text in quotes, such as \"0640\""))
            }
            other => mode(&utf8(other)?),
        }
    }

    fn show(field: &u32) -> Value {
        Value::Text(format!("{field:04o}").into())
    }
}

struct FilePath;

impl Kind<PathBuf> for FilePath {
    fn read(value: Value) -> Result<PathBuf, ParseError> {
        any(value).map(Into::into)
    }

    fn show(field: &PathBuf) -> Value {
        Value::Text(field.into())
    }
}

/// No text means no path.
struct MaybePath;

impl Kind<Option<PathBuf>> for MaybePath {
    fn read(value: Value) -> Result<Option<PathBuf>, ParseError> {
        match value {
            Value::Nothing => Ok(None),
            other => any(other).map(|path| (!path.is_empty()).then(|| path.into())),
        }
    }

    fn show(field: &Option<PathBuf>) -> Value {
        field.as_ref().map_or(Value::Nothing, |path| Value::Text(path.into()))
    }
}

struct Affix;

impl Kind<OsString> for Affix {
    fn read(value: Value) -> Result<OsString, ParseError> {
        any(value)
    }

    fn show(field: &OsString) -> Value {
        Value::Text(field.clone())
    }
}

struct Bytes;

impl Kind<Vec<u8>> for Bytes {
    fn read(value: Value) -> Result<Vec<u8>, ParseError> {
        any(value).map(OsString::into_encoded_bytes)
    }

    fn show(field: &Vec<u8>) -> Value {
        // Where names are text, bytes that are none can't be shown as they are.
        let text = names::owned(field.clone());
        Value::Text(text.unwrap_or_else(|| String::from_utf8_lossy(field).into_owned().into()))
    }
}

/// What reads and shows itself.
struct Word;

impl<T: FromStr + Display> Kind<T> for Word
where
    T::Err: Display,
{
    fn read(value: Value) -> Result<T, ParseError> {
        utf8(value)?.parse().map_err(|why: T::Err| ParseError::new(why.to_string()))
    }

    fn show(field: &T) -> Value {
        Value::Text(field.to_string().into())
    }
}

struct Ring;

impl Kind<Recorder> for Ring {
    fn read(value: Value) -> Result<Recorder, ParseError> {
        match value {
            Value::Flag(on) => Ok(if on { Recorder::Whole } else { Recorder::Off }),
            Value::Number(_) => Size::read(value).map(Recorder::Last),
            other => utf8(other)?.parse(),
        }
    }

    fn show(field: &Recorder) -> Value {
        Value::Text(field.to_string().into())
    }
}

struct Memory;

impl Kind<CrashProof> for Memory {
    fn read(value: Value) -> Result<CrashProof, ParseError> {
        match value {
            // YAML reads the word `off` as this.
            Value::Flag(on) => Ok(if on { CrashProof::Auto } else { CrashProof::Off }),
            other => crash_proof(any(other)?.as_ref()),
        }
    }

    fn show(field: &CrashProof) -> Value {
        Value::Text(show_crash_proof(field).into())
    }
}
