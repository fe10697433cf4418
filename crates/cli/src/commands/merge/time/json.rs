//! The time of a line that is a JSON object.
//!
//! Guarantees: the field is one of the object itself, not of an object in it. What follows it is not
//! read, so it need not be valid.

use std::cell::Cell;
use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The time in the first of these fields that has one. `time` gets the text of a string without its
/// quotes, or a number.
pub(super) fn find(
    line: &[u8],
    fields: &[String],
    mut time: impl FnMut(&[u8]) -> Option<i64>,
) -> Option<i64> {
    if line.first() != Some(&b'{') {
        return None;
    }
    let found = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    // It ends with an error of ours when the time is found.
    let _ = deserializer.deserialize_map(Object { fields, time: &mut time, found: &found });
    found.get()
}

struct Object<'a, F> {
    fields: &'a [String],
    time: F,
    found: &'a Cell<Option<i64>>,
}

impl<'de, F: FnMut(&[u8]) -> Option<i64>> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_one) = map.next_key_seed(IsOneOf(self.fields))? {
            if !is_one {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let text = map.next_value::<&RawValue>()?.get().as_bytes();
            let inner = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
            self.found.set((self.time)(inner.unwrap_or(text)));
            if self.found.get().is_some() {
                return Err(A::Error::custom("found"));
            }
        }
        Ok(())
    }
}

/// Whether a key is one of these.
struct IsOneOf<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for IsOneOf<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsOneOf<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        Ok(self.0.iter().any(|field| field == key))
    }
}
