//! What is wrong, for people and for programs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A directory or a file could not be read.
    Unreadable,
    /// No writer gives a file this name.
    Name,
    /// A frame is damaged, or its end is missing.
    Damaged,
    /// There is nothing in the file.
    Empty,
    /// The last line has no end.
    NoNewline,
    /// A block of zeros, as a crash of the system leaves it.
    NulBlock,
    /// The file does not begin with the header, or end with the footer.
    Envelope,
    /// Files of a worker are missing between others.
    Gap,
    /// Two files of a worker have one number.
    Twice,
    /// The manifest can't be read, or has a line that is none.
    Manifest,
    /// A file has no line in the manifest.
    Unlisted,
    /// The file of a line of the manifest is missing.
    Missing,
    /// The manifest says something else about the file.
    Differs,
    /// A dead writer left something.
    LeftOver,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Unreadable => "unreadable",
            Kind::Name => "name",
            Kind::Damaged => "damaged",
            Kind::Empty => "empty",
            Kind::NoNewline => "no_newline",
            Kind::NulBlock => "nul_block",
            Kind::Envelope => "envelope",
            Kind::Gap => "gap",
            Kind::Twice => "twice",
            Kind::Manifest => "manifest",
            Kind::Unlisted => "unlisted",
            Kind::Missing => "missing",
            Kind::Differs => "differs",
            Kind::LeftOver => "left_over",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) path: PathBuf,
    /// Byte of the file, or of its contents if it is compressed and the contents are wrong.
    pub(super) offset: Option<u64>,
    pub(super) kind: Kind,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(kind: Kind, path: &Path, what: impl Into<String>) -> Self {
        Problem { path: path.to_owned(), offset: None, kind, what: what.into() }
    }

    pub(super) fn at(self, offset: u64) -> Self {
        Problem { offset: Some(offset), ..self }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "kind": self.kind.name(),
            "path": self.path.to_string_lossy(),
            "offset": self.offset,
            "message": self.what,
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}
