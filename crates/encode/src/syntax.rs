//! JSON and logfmt behind one type, for adapters that write either.

use std::fmt::{self, Debug, Display, Write};

use crate::{json, logfmt};

/// How the keys and values of a line are written.
///
/// ```
/// use std::fmt;
/// use bufferedwriter_encode::Syntax;
///
/// fn pair(syntax: Syntax, out: &mut impl fmt::Write) -> fmt::Result {
///     syntax.key(out, "path")?;
///     syntax.text(out, "/a b")
/// }
///
/// let mut out = String::new();
/// pair(Syntax::Json, &mut out)?;
/// pair(Syntax::Logfmt, &mut out)?;
/// assert_eq!(out, ",\"path\":\"/a b\" path=\"/a b\"");
/// # Ok::<(), fmt::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// An object: see [`json`](crate::json).
    Json,
    /// Pairs: see [`logfmt`](crate::logfmt).
    Logfmt,
}

impl Syntax {
    /// Writes the separator, the key, and what stands before its value: `,"key":` or ` key=`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn key(self, out: &mut impl Write, key: &str) -> fmt::Result {
        match self {
            Syntax::Json => {
                out.write_str(",")?;
                json::text(out, key)?;
                out.write_str(":")
            }
            Syntax::Logfmt => {
                out.write_str(" ")?;
                logfmt::key(out, key)?;
                out.write_str("=")
            }
        }
    }

    /// Writes a string.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn text(self, out: &mut impl Write, value: &str) -> fmt::Result {
        match self {
            Syntax::Json => json::text(out, value),
            Syntax::Logfmt => logfmt::text(out, value),
        }
    }

    /// Writes the `Debug` form of a value as a string. If the value's own code fails, the string ends there.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn debug(self, out: &mut impl Write, value: &(impl Debug + ?Sized)) -> fmt::Result {
        match self {
            Syntax::Json => json::debug(out, value),
            Syntax::Logfmt => logfmt::debug(out, value),
        }
    }

    /// Writes the `Display` form of a value as [`debug`](Self::debug) does.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn display(self, out: &mut impl Write, value: &(impl Display + ?Sized)) -> fmt::Result {
        match self {
            Syntax::Json => json::display(out, value),
            Syntax::Logfmt => logfmt::display(out, value),
        }
    }

    /// Writes a float. Infinity and NaN are `null` in JSON.
    ///
    /// # Errors
    /// Those of `out`.
    #[inline]
    pub fn float(self, out: &mut impl Write, value: f64) -> fmt::Result {
        match self {
            Syntax::Json => json::float(out, value),
            Syntax::Logfmt => logfmt::float(out, value),
        }
    }
}
