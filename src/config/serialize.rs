//! `Config` through serde: from a table of any self-describing format, and to it.
//!
//! Guarantees: what is serialised is deserialised as the same options, but for closures, which are none then. An
//! unknown key, a key given twice and a wrong value are errors at their place in the file, and name the key.

use std::fmt;

use serde_core::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_core::ser::{self, Serialize, SerializeMap, Serializer};

use crate::config::Config;
use crate::config::keys::{KEYS, Key, PARTITION_VALUE, Value, find};
use crate::config::sources::{refused, unknown};

/// For formats and adapters that ask for the names.
const NAMES: [&str; KEYS.len()] = {
    let mut names = [""; KEYS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = KEYS[at].name;
        at += 1;
    }
    names
};

/// A table with the names of the setters as keys. What it does not have is as in [`Config::default`].
///
/// Numbers and flags may also be texts, as they are for [`Config::set`].
impl<'de> de::Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Config", &NAMES, Options)
    }
}

struct Options;

impl<'de> Visitor<'de> for Options {
    type Value = Config;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of options")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Config, A::Error> {
        let mut config = Config::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some((key, name)) = map.next_key_seed(Name { seen: &seen })? {
            let end = |name: &str, value| set(&mut config, key, name, value);
            map.next_value_seed(AnyValue { place: &name, end })?;
            seen.push(name);
        }
        Ok(config)
    }
}

/// Sets the option of a name, `partition_value.app` included.
fn set(config: &mut Config, key: &Key, name: &str, value: Value) -> Result<(), String> {
    // JSON may have a value both in the table and as a key of its own.
    let has = |part: &str| config.files.partition_values.iter().any(|(other, _)| other == part);
    let parts = match &value {
        Value::Map(pairs) => pairs.iter().map(|(part, _)| part.as_str()).collect(),
        _ => Vec::from_iter(name.split_once('.').map(|(_, part)| part)),
    };
    if let Some(part) = parts.into_iter().find(|part| has(part)) {
        return Err(format!("key `{PARTITION_VALUE}.{part}` is given twice"));
    }
    let text = match &value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string().into()),
        _ => None,
    };
    let value = match name.split_once('.') {
        Some((_, part)) => Value::Map(vec![(part.to_owned(), value)]),
        None => value,
    };
    let set = (key.set)(config, value);
    set.map_err(|why| refused(key, &name, text.as_deref(), &why).to_string())
}

/// Looks a key up, so that a wrong one is an error at its place.
struct Name<'a> {
    seen: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = (&'static Key, String);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = (&'static Key, String);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an option")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        if self.seen.iter().any(|seen| seen == name) {
            return Err(E::custom(format_args!("key `{name}` is given twice")));
        }
        let is_one = name.split_once('.').is_some_and(|(table, _)| table == PARTITION_VALUE);
        let key = find(if is_one { PARTITION_VALUE } else { name });
        let key = key.ok_or_else(|| E::custom(unknown(name)))?;
        Ok((key, name.to_owned()))
    }
}

/// What any format may have in the place of a value. `end` takes it, within the visit, so that what it refuses is an
/// error at its place.
struct AnyValue<'a, F> {
    place: &'a str,
    end: F,
}

impl<T, F: FnOnce(&str, Value) -> Result<T, String>> AnyValue<'_, F> {
    fn end<E: de::Error>(self, value: Value) -> Result<T, E> {
        (self.end)(self.place, value).map_err(E::custom)
    }
}

impl<'de, T, F: FnOnce(&str, Value) -> Result<T, String>> DeserializeSeed<'de> for AnyValue<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F: FnOnce(&str, Value) -> Result<T, String>> Visitor<'de> for AnyValue<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text, a number, true or false for `{}`", self.place)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<T, E> {
        self.end(Value::Flag(flag))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.end(Value::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        // No option takes a negative number: each says so in its own words.
        let text = |_| Value::Text(number.to_string().into());
        self.end(u64::try_from(number).map_or_else(text, Value::Number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        // Nor a fraction.
        self.end(Value::Text(format!("{number:?}").into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.end(Value::Text(text.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        self.end(Value::Nothing)
    }

    fn visit_none<E: de::Error>(self) -> Result<T, E> {
        self.end(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let place = format!("{}.{name}", self.place);
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(de::Error::custom(format_args!("key `{place}` is given twice")));
            }
            // Not a closure, whose type would hold this one's.
            let end: fn(&str, Value) -> Result<Value, String> = text_alone;
            pairs.push((name, map.next_value_seed(AnyValue { place: &place, end })?));
        }
        self.end(Value::Map(pairs))
    }
}

/// A value in a table of names.
fn text_alone(place: &str, value: Value) -> Result<Value, String> {
    match value {
        Value::Text(_) => Ok(value),
        _ => Err(format!("{place}: must be text, in quotes")),
    }
}

/// A table of all options that are data, with what each is. [`latest`](Config::latest), [`manifest`](Config::manifest)
/// and [`partition_value`](Config::partition_value) are left out if there is none. Paths, names and bytes that are no
/// UTF-8 are an error.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = KEYS.iter().map(|key| (key, (key.show)(self)));
        let shown: Vec<_> = shown.filter(|(_, value)| *value != Value::Nothing).collect();
        let mut map = serializer.serialize_map(Some(shown.len()))?;
        for (key, value) in &shown {
            map.serialize_entry(key.name, &Shown { name: key.name, value })?;
        }
        map.end()
    }
}

struct Shown<'a> {
    name: &'static str,
    value: &'a Value,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shown { name, value } = self;
        match value {
            Value::Text(text) => match text.to_str() {
                Some(text) => serializer.serialize_str(text),
                None => Err(ser::Error::custom(format_args!("{name}: {text:?} is not UTF-8"))),
            },
            // TOML has no more bits.
            Value::Number(number) => match i64::try_from(*number) {
                Ok(number) => serializer.serialize_i64(number),
                Err(_) => serializer.collect_str(number),
            },
            Value::Flag(flag) => serializer.serialize_bool(*flag),
            Value::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (part, value) in pairs {
                    map.serialize_entry(part, &Shown { name, value })?;
                }
                map.end()
            }
            Value::Nothing => serializer.serialize_unit(),
        }
    }
}
