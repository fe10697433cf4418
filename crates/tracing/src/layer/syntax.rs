//! What differs between JSON and logfmt.

use std::fmt::{self, Debug, Write};

use bufferedwriter_encode::{json, logfmt};
use tracing_core::Level;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Json,
    Logfmt,
}

impl Syntax {
    /// Before and after a line's pieces. Each piece begins with the separator, one byte; the first one goes without.
    pub(crate) fn around_line(self) -> (&'static str, &'static str) {
        match self {
            Syntax::Json => ("{", "}\n"),
            Syntax::Logfmt => ("", "\n"),
        }
    }

    /// Around the event's fields, if they are not flattened.
    pub(crate) fn around_fields(self) -> (&'static str, &'static str) {
        match self {
            Syntax::Json => (",\"fields\":{", "}"),
            Syntax::Logfmt => ("", ""),
        }
    }

    /// Around the timestamp.
    pub(crate) fn around_time(self) -> (&'static str, &'static str) {
        match self {
            Syntax::Json => (",\"timestamp\":\"", "\""),
            Syntax::Logfmt => (" ts=", ""),
        }
    }

    /// A piece whose value is text.
    pub(crate) fn text_piece(self, name: &str, value: &str) -> String {
        let mut piece = self.key(name);
        // A String takes everything.
        let _ = self.text(&mut piece, value);
        piece
    }

    pub(crate) fn level_piece(self, level: Level) -> String {
        match self {
            Syntax::Json => self.text_piece("level", level.as_str()),
            Syntax::Logfmt => self.text_piece("level", &level.as_str().to_ascii_lowercase()),
        }
    }

    /// A field's name, after a separator and up to its value.
    pub(crate) fn key(self, name: &str) -> String {
        let mut key = String::with_capacity(name.len() + 4);
        let _ = match self {
            Syntax::Json => {
                key.push(',');
                json::text(&mut key, name).map(|()| key.push(':'))
            }
            Syntax::Logfmt => {
                key.push(' ');
                logfmt::key(&mut key, name).map(|()| key.push('='))
            }
        };
        key
    }

    #[inline]
    pub(crate) fn text(self, out: &mut impl Write, value: &str) -> fmt::Result {
        match self {
            Syntax::Json => json::text(out, value),
            Syntax::Logfmt => logfmt::text(out, value),
        }
    }

    #[inline]
    pub(crate) fn debug(self, out: &mut impl Write, value: &dyn Debug) -> fmt::Result {
        match self {
            Syntax::Json => json::debug(out, value),
            Syntax::Logfmt => logfmt::debug(out, value),
        }
    }

    #[inline]
    pub(crate) fn float(self, out: &mut impl Write, value: f64) -> fmt::Result {
        match self {
            Syntax::Json => json::float(out, value),
            Syntax::Logfmt => logfmt::float(out, value),
        }
    }
}
