//! What differs between JSON and logfmt in a line of an event.

use tracing_core::Level;

pub(crate) use bufferedwriter_encode::Syntax;

/// The pieces of a line. Each begins with the separator, one byte; the first one goes without.
pub(crate) trait Pieces: Sized {
    /// Before and after all pieces.
    fn around_line(self) -> (&'static str, &'static str);

    /// Around the event's fields, if they are not flattened.
    fn around_fields(self) -> (&'static str, &'static str);

    /// Around the timestamp.
    fn around_time(self) -> (&'static str, &'static str);

    /// What a line begins with up to the timestamp, if that is there.
    fn up_to_time(self) -> &'static str;

    /// A field's name, after a separator and up to its value.
    fn key_piece(self, name: &str) -> String;

    /// A piece whose value is text.
    fn text_piece(self, name: &str, value: &str) -> String;

    fn level_piece(self, level: Level) -> String;
}

impl Pieces for Syntax {
    fn around_line(self) -> (&'static str, &'static str) {
        match self {
            Syntax::Json => ("{", "}\n"),
            Syntax::Logfmt => ("", "\n"),
        }
    }

    fn around_fields(self) -> (&'static str, &'static str) {
        match self {
            Syntax::Json => (",\"fields\":{", "}"),
            Syntax::Logfmt => ("", ""),
        }
    }

    fn around_time(self) -> (&'static str, &'static str) {
        match self {
            Syntax::Json => (",\"timestamp\":\"", "\""),
            Syntax::Logfmt => (" ts=", ""),
        }
    }

    fn up_to_time(self) -> &'static str {
        match self {
            Syntax::Json => "{\"timestamp\":\"",
            Syntax::Logfmt => "ts=",
        }
    }

    fn key_piece(self, name: &str) -> String {
        let mut key = String::with_capacity(name.len() + 4);
        // A String takes everything.
        let _ = self.key(&mut key, name);
        key
    }

    fn text_piece(self, name: &str, value: &str) -> String {
        let mut piece = self.key_piece(name);
        let _ = self.text(&mut piece, value);
        piece
    }

    fn level_piece(self, level: Level) -> String {
        match self {
            Syntax::Json => self.text_piece("level", level.as_str()),
            Syntax::Logfmt => self.text_piece("level", &level.as_str().to_ascii_lowercase()),
        }
    }
}
