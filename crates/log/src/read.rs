//! `LogConfig` from a table of any self-describing format.
//!
//! Guarantees: an unknown key, a key given twice and a wrong value are errors at their place in the file.

use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::config::LogConfig;
use crate::line::Format;
use crate::logger::parse;

const KEYS: &[&str] = &["filter", "format", "time", "target", "source", "files"];
const FORMATS: &[&str] = &["text", "json", "logfmt"];

/// A table with the names of the fields as keys. What it does not have is as in [`LogConfig::default`].
impl<'de> Deserialize<'de> for LogConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("LogConfig", KEYS, Options)
    }
}

struct Options;

impl<'de> Visitor<'de> for Options {
    type Value = LogConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of options of a logger")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LogConfig, A::Error> {
        let mut config = LogConfig::default();
        let mut seen = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            if seen.contains(&key) {
                return Err(A::Error::duplicate_field(key));
            }
            seen.push(key);
            match key {
                "filter" => config.filter = map.next_value::<Filter>()?.0,
                "format" => config.format = map.next_value()?,
                "time" => config.time = map.next_value()?,
                "target" => config.target = map.next_value()?,
                "source" => config.source = map.next_value()?,
                _ => config.files = map.next_value()?,
            }
        }
        Ok(config)
    }
}

/// What a text says.
trait Word: Sized {
    const WHAT: &'static str;

    fn of<E: Error>(text: &str) -> Result<Self, E>;
}

/// One of `KEYS`.
struct Key(&'static str);

impl Word for Key {
    const WHAT: &'static str = "the name of an option";

    fn of<E: Error>(text: &str) -> Result<Self, E> {
        let key = KEYS.iter().find(|key| **key == text);
        key.map(|key| Key(key)).ok_or_else(|| E::unknown_field(text, KEYS))
    }
}

impl Word for Format {
    const WHAT: &'static str = "a format of lines";

    fn of<E: Error>(text: &str) -> Result<Self, E> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "logfmt" => Ok(Format::Logfmt),
            other => Err(E::unknown_variant(other, FORMATS)),
        }
    }
}

/// Directives that can be read.
struct Filter(String);

impl Word for Filter {
    const WHAT: &'static str = "directives such as \"info,app::db=debug\"";

    fn of<E: Error>(text: &str) -> Result<Self, E> {
        parse(text).map_err(E::custom)?;
        Ok(Filter(text.to_owned()))
    }
}

/// Looks a text up within the visit, so that a wrong one is an error at its place.
struct Read<W>(PhantomData<W>);

impl<W: Word> Visitor<'_> for Read<W> {
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(W::WHAT)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<W, E> {
        W::of(text)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(Read(PhantomData))
    }
}

/// `"text"`, `"json"` or `"logfmt"`.
impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Read(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Read(PhantomData))
    }
}
