//! Options in a file, in TOML.
//!
//! Guarantees: a file of any length takes little memory: one that is too long for options is refused.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::Command;
use toml::{Table, Value};

use crate::settings::keys::{Kind, PARTITION_VALUE, Setting, Source, known};

/// The longest file. The parser takes several times as much memory.
const BYTES_MAX: u64 = 2 << 20;

/// Reads the options of a file, in their order. The error is a complete message.
pub(super) fn read(path: &Path, command: &Command) -> Result<Vec<Setting>, String> {
    let place = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(read) if read as u64 > BYTES_MAX => {
            return Err(format!("{place}: longer than {BYTES_MAX} bytes"));
        }
        Ok(_) => {}
        Err(error) => return Err(format!("read {place}: {error}")),
    }
    let table: Table = text.parse().map_err(|error| format!("{place}: {error}"))?;
    let mut settings = Vec::new();
    for (key, value) in &table {
        let kind = Kind::of(known(command, key, &place.to_string())?);
        let refused = |what: &str| format!("{place}: {key}: must be {what}");
        let setting = |value: String| {
            let source = Source::File(path.to_owned());
            Setting { key: key.clone(), value: value.into(), source }
        };
        if key == PARTITION_VALUE {
            let all = || refused("a table of names and values");
            for (name, value) in value.as_table().ok_or_else(all)? {
                let plain = || refused("text, a whole number, true or false");
                let value = text_of(value).ok_or_else(plain)?;
                settings.push(setting(format!("{name}={value}")));
            }
        } else {
            let text = text_of(value).filter(|_| takes(kind, value));
            settings.push(setting(text.ok_or_else(|| refused(kind.name()))?));
        }
    }
    Ok(settings)
}

fn takes(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Boolean(_) => matches!(kind, Kind::Switch | Kind::MaybeText),
        Value::Integer(_) => kind == Kind::Number,
        _ => kind != Kind::Switch,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
