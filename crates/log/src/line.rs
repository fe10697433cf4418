//! One record as a line.

use std::fmt::{self, Write};
use std::time::SystemTime;

use bufferedwriter_encode::{Syntax, json, logfmt, stamp};
use log::Record;
use log::kv::{self, Key, Value, VisitSource, VisitValue};

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// For people: see [`text`](crate::text). In a file: `"text"`.
    #[default]
    Text,
    /// See [`json`](crate::json). In a file: `"json"`.
    Json,
    /// See [`logfmt`](crate::logfmt). In a file: `"logfmt"`.
    Logfmt,
}

#[derive(Debug)]
pub(crate) struct Line {
    format: Format,
    pub(crate) time: bool,
    pub(crate) target: bool,
    pub(crate) source: bool,
}

impl Line {
    pub(crate) fn new(format: Format) -> Self {
        Line { format, time: true, target: true, source: false }
    }

    pub(crate) fn write(&self, out: &mut impl Write, record: &Record<'_>) -> fmt::Result {
        match self.format {
            Format::Text => self.text(out, record),
            Format::Json => self.json(out, record),
            Format::Logfmt => self.logfmt(out, record),
        }
    }

    fn text(&self, out: &mut impl Write, record: &Record<'_>) -> fmt::Result {
        if self.time {
            stamp::write(out, SystemTime::now())?;
            out.write_str(" ")?;
        }
        write!(out, "{:5} ", record.level())?;
        if self.target {
            out.write_str(record.target())?;
            out.write_str(": ")?;
        }
        if let (true, Some(file), Some(line)) = (self.source, record.file(), record.line()) {
            write!(out, "{file}:{line}: ")?;
        }
        write!(out, "{}", record.args())?;
        pairs(out, record, Syntax::Logfmt)?;
        out.write_str("\n")
    }

    fn json(&self, out: &mut impl Write, record: &Record<'_>) -> fmt::Result {
        out.write_str("{")?;
        if self.time {
            out.write_str("\"timestamp\":\"")?;
            stamp::write(out, SystemTime::now())?;
            out.write_str("\",")?;
        }
        out.write_str("\"level\":\"")?;
        out.write_str(record.level().as_str())?;
        out.write_str("\",\"fields\":{\"message\":")?;
        json::display(out, record.args())?;
        pairs(out, record, Syntax::Json)?;
        out.write_str("}")?;
        if self.target {
            out.write_str(",\"target\":")?;
            json::text(out, record.target())?;
        }
        if let (true, Some(file)) = (self.source, record.file()) {
            out.write_str(",\"filename\":")?;
            json::text(out, file)?;
        }
        if let (true, Some(line)) = (self.source, record.line()) {
            out.write_str(",\"line_number\":")?;
            json::integer(out, line)?;
        }
        out.write_str("}\n")
    }

    fn logfmt(&self, out: &mut impl Write, record: &Record<'_>) -> fmt::Result {
        if self.time {
            out.write_str("ts=")?;
            stamp::write(out, SystemTime::now())?;
            out.write_str(" ")?;
        }
        out.write_str("level=")?;
        record
            .level()
            .as_str()
            .chars()
            .try_for_each(|char| out.write_char(char.to_ascii_lowercase()))?;
        out.write_str(" message=")?;
        logfmt::display(out, record.args())?;
        pairs(out, record, Syntax::Logfmt)?;
        if self.target {
            out.write_str(" target=")?;
            logfmt::text(out, record.target())?;
        }
        if let (true, Some(file)) = (self.source, record.file()) {
            out.write_str(" filename=")?;
            logfmt::text(out, file)?;
        }
        if let (true, Some(line)) = (self.source, record.line()) {
            out.write_str(" line_number=")?;
            logfmt::integer(out, line)?;
        }
        out.write_str("\n")
    }
}

/// The key-values.
fn pairs(out: &mut impl Write, record: &Record<'_>, syntax: Syntax) -> fmt::Result {
    let mut pairs = Pairs { out, record, syntax, index: 0 };
    record.key_values().visit(&mut pairs).map_err(|_| fmt::Error)
}

struct Pairs<'a, W> {
    out: &'a mut W,
    record: &'a Record<'a>,
    syntax: Syntax,
    index: usize,
}

impl<'kvs, W: Write> VisitSource<'kvs> for Pairs<'_, W> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.index += 1;
        let mut later = Later { key: key.as_str(), after: self.index, index: 0, is_there: false };
        self.record.key_values().visit(&mut later)?;
        if later.is_there || key.as_str() == "message" {
            return Ok(());
        }
        self.syntax.key(self.out, key.as_str())?;
        value.visit(Scalar { out: self.out, syntax: self.syntax })
    }
}

/// Whether a key comes again.
struct Later<'a> {
    key: &'a str,
    after: usize,
    index: usize,
    is_there: bool,
}

impl<'kvs> VisitSource<'kvs> for Later<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, _: Value<'kvs>) -> Result<(), kv::Error> {
        self.is_there |= self.index >= self.after && key.as_str() == self.key;
        self.index += 1;
        Ok(())
    }
}

struct Scalar<'a, W> {
    out: &'a mut W,
    syntax: Syntax,
}

impl<'v, W: Write> VisitValue<'v> for Scalar<'_, W> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        Ok(self.syntax.display(self.out, &value)?)
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(self.out.write_str("null")?)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        Ok(json::integer(self.out, value)?)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        Ok(json::integer(self.out, value)?)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        Ok(self.syntax.float(self.out, value)?)
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        Ok(json::boolean(self.out, value)?)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        Ok(self.syntax.text(self.out, value)?)
    }
}
