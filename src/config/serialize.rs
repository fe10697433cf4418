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
            map.next_value_seed(Setting { key, name: &name, config: &mut config })?;
            seen.push(name);
        }
        Ok(config)
    }
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

/// Reads the value and sets the option, so that a wrong one is an error at its place.
struct Setting<'a> {
    key: &'static Key,
    name: &'a str,
    config: &'a mut Config,
}

impl<'de> DeserializeSeed<'de> for Setting<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Setting { key, name, config } = self;
        let value = deserializer.deserialize_any(AnyValue { place: name })?;
        let text = match &value {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string().into()),
            _ => None,
        };
        let value = match (name.split_once('.'), value) {
            (Some((_, part)), value) => Value::Map(vec![(part.to_owned(), value)]),
            (None, value) => value,
        };
        let set = (key.set)(config, value);
        set.map_err(|why| de::Error::custom(refused(key, &name, text.as_deref(), &why)))
    }
}

/// What any format may have in the place of a value.
struct AnyValue<'a> {
    place: &'a str,
}

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text, a number, true or false for `{}`", self.place)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        // No option takes a negative number: each says so in its own words.
        let text = || Value::Text(number.to_string().into());
        Ok(u64::try_from(number).map_or_else(|_| text(), Value::Number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        // Nor a fraction.
        Ok(Value::Text(format!("{number:?}").into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let place = format!("{}.{name}", self.place);
            let value = map.next_value_seed(AnyValue { place: &place })?;
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(de::Error::custom(format_args!("key `{place}` is given twice")));
            }
            if !matches!(value, Value::Text(_)) {
                return Err(de::Error::custom(format_args!("{place}: must be text, in quotes")));
            }
            pairs.push((name, value));
        }
        Ok(Value::Map(pairs))
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
