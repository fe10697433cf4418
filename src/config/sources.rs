//! Options by their names: from text, and from the environment.
//!
//! Guarantees: an unknown name is refused with the name that was probably meant. Errors name the key, or the
//! variable, and the value.

use std::ffi::{OsStr, OsString};
use std::fmt;

use crate::config::Config;
use crate::config::keys::{KEYS, Key, PARTITION_VALUE, Value, find};
use crate::config::text::ParseError;
use crate::report::error::Error;

/// Setters that a text can't have.
const CLOSURES: [&str; 2] = ["on_error", "on_publish"];

impl Config {
    /// The names of the options that [`set`](Self::set), [`env`](Self::env) and files have: those of the setters,
    /// but for [`on_error`](Self::on_error) and [`on_publish`](Self::on_publish).
    pub fn keys() -> impl ExactSizeIterator<Item = &'static str> {
        KEYS.iter().map(|key| key.name)
    }

    /// Sets the option of this name to what a text says. The name is that of the setter.
    ///
    /// Sizes are bytes or have a unit (`"64KiB"`, `"10 MB"`), durations have a unit (`"1m30s"`), choices are words
    /// (`"zstd:3"`, `"15m"`, `"file"`), permissions are octal (`"0640"`), flags are `"true"` or `"false"`. An
    /// empty `latest` or `manifest` is none. One [`partition_value`](Self::partition_value) is
    /// `"partition_value.NAME"`. [The guide] has all of them.
    ///
    /// Texts are checked here, ranges in [`new`](crate::BufferedWriter::new).
    ///
    /// ```
    /// use bufferedwriter::Config;
    /// let config = Config::default().set("size", "64KiB")?.set("partition_value.app", "shop")?;
    /// let error = Config::default().set("worker", "4").unwrap_err();
    /// assert_eq!(error.to_string(), "unknown key `worker`, did you mean `workers`?");
    /// # Ok::<(), bufferedwriter::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no such option, or the text is not a value for it.
    ///
    /// [The guide]: crate::guide::configuration
    pub fn set(mut self, key: &str, text: impl AsRef<OsStr>) -> Result<Self, Error> {
        self.assign(key, &key, text.as_ref())?;
        Ok(self)
    }

    /// What an option is, as a text that [`set`](Self::set) takes. `None` if there is no such option, or it is
    /// none, as a [`latest`](Self::latest) that was not set.
    ///
    /// ```
    /// use bufferedwriter::Config;
    /// let config = Config::default().path("/var/log/app");
    /// assert_eq!(config.get("path").unwrap(), "/var/log/app");
    /// assert_eq!(config.get("file_size").unwrap(), "64MiB");
    /// assert_eq!(config.get("partition_value.app"), None);
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<OsString> {
        let (name, part) = match key.split_once('.') {
            Some((name, part)) => (name, Some(part)),
            None => (key, None),
        };
        match ((find(name)?.show)(self), part) {
            (Value::Text(text), None) => Some(text),
            (Value::Number(number), None) => Some(number.to_string().into()),
            (Value::Flag(flag), None) => Some(flag.to_string().into()),
            (Value::Map(pairs), Some(part)) => {
                let value = pairs.into_iter().find(|(name, _)| name == part);
                value.and_then(|(_, value)| match value {
                    Value::Text(text) => Some(text),
                    _ => None,
                })
            }
            _ => None,
        }
    }

    /// Sets the options that the environment has, in variables of this prefix and the option's name in capitals:
    /// `BUFFEREDWRITER_QUEUE_SIZE` for the prefix `"BUFFEREDWRITER_"`. All others stay as they are.
    ///
    /// A value is a text as for [`set`](Self::set). The value of the name `app` in a partition is
    /// `BUFFEREDWRITER_PARTITION_VALUE_app`: after that, case counts.
    ///
    /// ```
    /// use bufferedwriter::Config;
    /// // SHOP_LOG_PATH=/var/log/shop SHOP_LOG_FORCED=1s
    /// let config = Config::default().env("SHOP_LOG_")?;
    /// # Ok::<(), bufferedwriter::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a variable of this prefix names no option, or has no value for it; if its name is not Unicode; if two of
    /// them name one option, such as one in capitals and one in small letters. The error names the variable.
    pub fn env(self, prefix: &str) -> Result<Self, Error> {
        self.vars(prefix, std::env::vars_os())
    }

    /// As [`env`](Self::env), from variables of your own, such as those of the environment without some.
    ///
    /// ```
    /// use bufferedwriter::Config;
    /// let config = Config::default().vars("LOG_", [("LOG_WORKERS", "2"), ("HOME", "/root")])?;
    /// # Ok::<(), bufferedwriter::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As with [`env`](Self::env).
    pub fn vars<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        prefix: &str,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Error> {
        let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        let mut ours: Vec<(OsString, OsString)> = vars
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| is_ours(name))
            .collect();
        // The same error each time.
        ours.sort();
        let mut seen: Vec<(String, String)> = Vec::new();
        for (name, text) in ours {
            let name = name.into_string().map_err(|name| {
                Error::text("config", format!("{name:?}: the variable's name is not Unicode"))
            })?;
            let key = key_of(&name[prefix.len()..]);
            if let Some((_, other)) = seen.iter().find(|(other, _)| *other == key) {
                let why = format!("{other} and {name} are variables of the same option");
                return Err(Error::text("config", why));
            }
            self.assign(&key, &name, &text)?;
            seen.push((key, name));
        }
        Ok(self)
    }

    /// `place` is what the user wrote.
    fn assign(&mut self, key: &str, place: &dyn fmt::Display, text: &OsStr) -> Result<(), Error> {
        let (found, value) = match key.split_once('.') {
            Some((PARTITION_VALUE, name)) => {
                (find(PARTITION_VALUE), Value::Map(vec![(name.into(), Value::Text(text.into()))]))
            }
            _ => (find(key), Value::Text(text.into())),
        };
        let Some(found) = found else {
            let unknown = unknown(key);
            let is_key = place.to_string() == key;
            return Err(Error::text(
                "config",
                if is_key { unknown } else { format!("{place}: {unknown}") },
            ));
        };
        (found.set)(self, value).map_err(|why| refused(found, place, Some(text), &why))
    }
}

/// The key of a variable, without its prefix.
fn key_of(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix(PARTITION_VALUE).and_then(|rest| rest.strip_prefix('_')) {
        Some(value) => format!("{PARTITION_VALUE}.{}", &name[name.len() - value.len()..]),
        None => lower,
    }
}

/// The error of a value, with what the user wrote and where.
pub(crate) fn refused(
    key: &Key,
    place: &dyn fmt::Display,
    text: Option<&OsStr>,
    why: &ParseError,
) -> Error {
    Error::text(
        key.name,
        match text {
            Some(text) => format!("{place} = {text:?}: {why}"),
            None => format!("{place}: {why}"),
        },
    )
}

/// What is said of a name that no option has.
pub(crate) fn unknown(name: &str) -> String {
    if CLOSURES.contains(&name) {
        return format!("unknown key `{name}`: it is a closure, which the program sets");
    }
    match suggestion(name) {
        Some(key) => format!("unknown key `{name}`, did you mean `{key}`?"),
        None => format!("unknown key `{name}`"),
    }
}

/// The option that was probably meant.
fn suggestion(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let near = |key: &&str| {
        let begins = name.len() >= 3 && (key.starts_with(&name) || name.starts_with(*key));
        begins || distance(&name, key) <= (key.len() / 3).max(1)
    };
    Config::keys().filter(near).min_by_key(|key| distance(&name, key))
}

/// How many letters are to be inserted, removed or replaced (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (number, letter) in from.chars().enumerate() {
        let mut diagonal = number;
        row[0] = number + 1;
        for (at, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant() {
        for (name, meant) in [
            ("worker", Some("workers")),
            ("wrokers", Some("workers")),
            ("queue-size", Some("queue_size")),
            ("QueueSize", Some("queue_size")),
            ("compress", Some("compression")),
            ("retain", Some("retain_age")),
            ("sise", Some("size")),
            ("filesize", Some("file_size")),
            ("level", None),
            ("", None),
            ("a-name-that-is-very-long-and-nothing-like-an-option", None),
        ] {
            assert_eq!(suggestion(name), meant, "{name}");
        }
    }

    #[test]
    fn a_variable_names_its_key() {
        for (name, key) in [
            ("QUEUE_SIZE", "queue_size"),
            ("PARTITION_VALUE_app", "partition_value.app"),
            ("PARTITION_VALUE_Aö", "partition_value.Aö"),
            ("PARTITION", "partition"),
            ("PARTITION_VALUE", "partition_value"),
        ] {
            assert_eq!(key_of(name), key);
        }
    }
}
