//! Values of JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)). Whatever is passed, what is written is valid.

use std::fmt::{self, Debug, Display, Write};

use crate::escape::{Escaped, escape};

/// Writes a string with its quotes.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn text(out: &mut impl Write, value: &str) -> fmt::Result {
    out.write_str("\"")?;
    escape(out, value)?;
    out.write_str("\"")
}

/// Writes the `Debug` form of a value as a string, with its quotes.
///
/// If the value's own code fails, the string ends there: the line stays valid and keeps what was written.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn debug(out: &mut impl Write, value: &(impl Debug + ?Sized)) -> fmt::Result {
    formatted(out, format_args!("{value:?}"))
}

/// Writes the `Display` form of a value as a string, with its quotes. It fails as [`debug`] does.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn display(out: &mut impl Write, value: &(impl Display + ?Sized)) -> fmt::Result {
    formatted(out, format_args!("{value}"))
}

fn formatted(out: &mut impl Write, args: fmt::Arguments<'_>) -> fmt::Result {
    out.write_str("\"")?;
    // An error of `out` comes again with the quote, unless it has room for that alone.
    let mut kept = Kept { out: Escaped(out), result: Ok(()) };
    let _ = kept.write_fmt(args);
    kept.result?;
    out.write_str("\"")
}

/// Keeps the error of what it writes to, apart from those of what is formatted.
pub(crate) struct Kept<W> {
    pub(crate) out: W,
    pub(crate) result: fmt::Result,
}

impl<W: Write> Write for Kept<W> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.result?;
        self.result = self.out.write_str(text);
        self.result
    }
}

/// Writes an integer: all of its digits, also beyond what a double can hold.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn integer(out: &mut impl Write, value: impl itoa::Integer) -> fmt::Result {
    out.write_str(itoa::Buffer::new().format(value))
}

/// Writes a float with the fewest digits that read back as the same one. Infinity and NaN are `null`.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn float(out: &mut impl Write, value: f64) -> fmt::Result {
    if !value.is_finite() {
        return out.write_str("null");
    }
    out.write_str(zmij::Buffer::new().format_finite(value))
}

/// Writes `true` or `false`.
///
/// # Errors
/// Those of `out`.
#[inline]
pub fn boolean(out: &mut impl Write, value: bool) -> fmt::Result {
    out.write_str(if value { "true" } else { "false" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn text_reads_back(value in any::<String>(), odd in "[\\x00-\\x7f]{0,40}") {
            for value in [value, odd] {
                prop_assert_eq!(
                    serde_json::from_str::<String>(&written(|out| text(out, &value))).unwrap(),
                    value.clone()
                );
                prop_assert_eq!(
                    serde_json::from_str::<String>(&written(|out| debug(out, &value))).unwrap(),
                    format!("{value:?}")
                );
                prop_assert_eq!(
                    serde_json::from_str::<String>(&written(|out| display(out, &value))).unwrap(),
                    value
                );
            }
        }

        #[test]
        fn numbers_read_back(float_bits in any::<u64>(), whole in any::<i128>(), small in any::<i64>()) {
            let value = f64::from_bits(float_bits);
            let read: Value = serde_json::from_str(&written(|out| float(out, value))).unwrap();
            prop_assert_eq!(read, Value::from(value));
            prop_assert_eq!(written(|out| integer(out, whole)), whole.to_string());
            let read: i64 = serde_json::from_str(&written(|out| integer(out, small))).unwrap();
            prop_assert_eq!(read, small);
        }
    }

    struct Fails;

    impl Debug for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half\n")?;
            Err(fmt::Error)
        }
    }

    #[test]
    fn a_value_that_fails_ends_its_string() {
        assert_eq!(written(|out| debug(out, &Fails)), "\"half\\n\"");
    }

    /// Has room for a few bytes.
    struct Small(usize);

    impl Write for Small {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    #[test]
    fn an_error_of_the_output_is_told() {
        for room in 0..8 {
            assert!(debug(&mut Small(room), "long text").is_err(), "{room}");
            assert!(text(&mut Small(room), "long text").is_err(), "{room}");
        }
        assert!(text(&mut Small(11), "long text").is_ok());
    }
}
