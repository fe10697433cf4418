//! Keys and values of logfmt: `key=value`, separated by spaces. A value is bare or in quotes, with JSON's escapes.
//!
//! There is no standard; this is what the readers of Go's `logfmt` and Grafana Loki understand.

use std::fmt::{self, Debug, Display, Write};
use std::str;

use crate::escape::{Escaped, escape};
use crate::json::{self, Kept};

/// Writes a key: bytes that would end it, a space, `=`, `"` and control characters, become `_`.
///
/// # Errors
/// Those of `out`.
pub fn key(out: &mut impl Write, key: &str) -> fmt::Result {
    if key.is_empty() {
        return out.write_char('_');
    }
    key.chars().try_for_each(|char| out.write_char(if ends_a_word(char) { '_' } else { char }))
}

/// Writes a string, in quotes if it needs them.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn text(out: &mut impl Write, value: &str) -> fmt::Result {
    if is_bare(value) { out.write_str(value) } else { json::text(out, value) }
}

/// Writes the `Debug` form of a value, in quotes if it needs them.
///
/// If the value's own code fails, the value ends there.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn debug(out: &mut impl Write, value: &(impl Debug + ?Sized)) -> fmt::Result {
    formatted(out, format_args!("{value:?}"))
}

/// Writes the `Display` form of a value as [`debug`] does.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn display(out: &mut impl Write, value: &(impl Display + ?Sized)) -> fmt::Result {
    formatted(out, format_args!("{value}"))
}

/// Writes a float with the fewest digits that read back as the same one; `NaN`, `inf` and `-inf`, too.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn float(out: &mut impl Write, value: f64) -> fmt::Result {
    out.write_str(zmij::Buffer::new().format(value))
}

pub use json::{boolean, integer};

fn formatted(out: &mut impl Write, args: fmt::Arguments<'_>) -> fmt::Result {
    let mut kept = Kept { out: Held::new(out), result: Ok(()) };
    let _ = kept.write_fmt(args);
    kept.result?;
    kept.out.end()
}

/// A value that is not in quotes can't begin with one, and has no space, `=`, quote or control character.
fn is_bare(value: &str) -> bool {
    !value.is_empty() && !value.chars().any(ends_a_word)
}

fn ends_a_word(char: char) -> bool {
    matches!(char, ' ' | '=' | '"' | '\\' | '\u{fffd}') || char.is_control() || char.is_whitespace()
}

/// Whether a value needs quotes is known at its end: its first bytes wait here.
struct Held<'a, W> {
    out: &'a mut W,
    bytes: [u8; 64],
    len: usize,
    /// The quote is written, and nothing waits any more.
    is_quoted: bool,
}

impl<'a, W: Write> Held<'a, W> {
    fn new(out: &'a mut W) -> Self {
        Held { out, bytes: [0; 64], len: 0, is_quoted: false }
    }

    fn held(&self) -> &str {
        // Only whole strings were put there.
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    fn end(self) -> fmt::Result {
        if self.is_quoted {
            return self.out.write_char('"');
        }
        let Held { bytes, len, out, .. } = self;
        text(out, str::from_utf8(&bytes[..len]).unwrap_or_default())
    }
}

impl<W: Write> Write for Held<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.is_quoted {
            if let Some(room) = self.bytes[self.len..].get_mut(..text.len()) {
                room.copy_from_slice(text.as_bytes());
                self.len += text.len();
                return Ok(());
            }
            self.out.write_char('"')?;
            let held = self.held().len();
            let bytes = self.bytes;
            escape(self.out, str::from_utf8(&bytes[..held]).unwrap_or_default())?;
            self.is_quoted = true;
        }
        Escaped(self.out).write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    /// Reads a line as the readers of Go's `logfmt` do.
    fn read(line: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut rest = line.trim_start_matches(' ');
        while !rest.is_empty() {
            let (key, after) = rest.split_once('=').unwrap();
            let value = if after.starts_with('"') {
                let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
                let value = values.next().unwrap().unwrap();
                rest = &after[values.byte_offset()..];
                value
            } else {
                let (value, after) = after.split_at(after.find(' ').unwrap_or(after.len()));
                rest = after;
                value.to_owned()
            };
            pairs.push((key.to_owned(), value));
            rest = rest.trim_start_matches(' ');
        }
        pairs
    }

    proptest! {
        #[test]
        fn values_read_back(values in prop::collection::vec(any::<String>(), 0..4), plain in "[ -~]{0,80}") {
            let values: Vec<_> = values.into_iter().chain([plain]).collect();
            let line = written(|out| {
                for (at, value) in values.iter().enumerate() {
                    write!(out, " t{at}=")?;
                    text(out, value)?;
                    write!(out, " d{at}=")?;
                    debug(out, value)?;
                    write!(out, " s{at}=")?;
                    display(out, value)?;
                }
                Ok(())
            });
            let expected: Vec<_> = values.iter().enumerate().flat_map(|(at, value)| [
                (format!("t{at}"), value.clone()),
                (format!("d{at}"), format!("{value:?}")),
                (format!("s{at}"), value.clone()),
            ]).collect();
            prop_assert_eq!(read(&line), expected, "{}", line);
            prop_assert!(!line.contains('\n'));
        }

        #[test]
        fn a_key_is_one_word(any in any::<String>()) {
            let line = written(|out| { key(out, &any)?; out.write_str("=1") });
            let pairs = read(&line);
            prop_assert_eq!(pairs.len(), 1, "{}", line);
            prop_assert_eq!(&pairs[0].1, "1");
        }
    }

    #[test]
    fn what_needs_no_quotes_has_none() {
        let pairs: [(&dyn Debug, &str); 5] = [
            (&42, "42"),
            (&Some(1), "Some(1)"),
            (&"a b", "\"\\\"a b\\\"\""),
            (&[1, 2], "\"[1, 2]\""),
            (&(), "()"),
        ];
        for (value, expected) in pairs {
            assert_eq!(written(|out| debug(out, value)), expected);
        }
        assert_eq!(written(|out| text(out, "")), "\"\"");
        assert_eq!(written(|out| text(out, "/index.html?a")), "/index.html?a");
        assert_eq!(written(|out| float(out, f64::NAN)), "NaN");
        assert_eq!(written(|out| display(out, &"x".repeat(500))).len(), 502);
    }
}
