//! Which format the times of lines have, as `--time` says.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// The longest prefix by which lines are compared.
pub(crate) const PREFIX_MAX: usize = 32;

/// What a number counts since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// By the number of its digits: up to 11 are seconds, then milli-, micro- and nanoseconds.
    ByLength,
    Seconds,
    Millis,
    Micros,
    Nanos,
}

/// How a line says its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Chosen for each file by its first lines.
    Auto,
    Rfc3339,
    Epoch(Unit),
    Clf,
    Syslog,
    Ctime,
    /// In the first of these fields that a line has.
    Json(Vec<String>),
    Strptime(String),
    /// The first bytes, compared as they are.
    Prefix(usize),
}

impl Format {
    /// What `auto` chooses from; the first wins if two fit as many lines.
    pub(super) fn candidates() -> [Format; 6] {
        let fields = ["timestamp", "time", "ts", "@timestamp"];
        [
            Format::Rfc3339,
            Format::Json(fields.map(str::to_owned).to_vec()),
            Format::Clf,
            Format::Ctime,
            Format::Syslog,
            Format::Epoch(Unit::ByLength),
        ]
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        Ok(match (name, argument) {
            ("auto", None) => Format::Auto,
            ("rfc3339", None) => Format::Rfc3339,
            ("clf", None) => Format::Clf,
            ("syslog", None) => Format::Syslog,
            ("ctime", None) => Format::Ctime,
            ("epoch", None) => Format::Epoch(Unit::ByLength),
            ("epoch", Some("s")) => Format::Epoch(Unit::Seconds),
            ("epoch", Some("ms")) => Format::Epoch(Unit::Millis),
            ("epoch", Some("us")) => Format::Epoch(Unit::Micros),
            ("epoch", Some("ns")) => Format::Epoch(Unit::Nanos),
            ("json", Some(field)) if !field.is_empty() => Format::Json(vec![field.to_owned()]),
            ("prefix", Some(bytes)) => Format::Prefix(prefix(bytes)?),
            ("strptime", Some(format)) => Format::Strptime(checked(format)?),
            _ => {
                return Err(
                    "must be auto, rfc3339, epoch, epoch:s, epoch:ms, epoch:us, epoch:ns, clf, \
                             syslog, ctime, json:FIELD, prefix:N or strptime:FORMAT"
                        .to_owned(),
                );
            }
        })
    }
}

fn prefix(bytes: &str) -> Result<usize, String> {
    let bytes = bytes.parse().ok().filter(|bytes| (1..=PREFIX_MAX).contains(bytes));
    bytes.ok_or_else(|| format!("prefix must be 1 to {PREFIX_MAX} bytes"))
}

/// A format with codes that do not exist is told before any line is read.
fn checked(format: &str) -> Result<String, String> {
    if format.is_empty() {
        return Err("strptime needs a format".to_owned());
    }
    let any = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    strtime::format(format, &any).map_err(|error| error.to_string())?;
    Ok(format.to_owned())
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Auto => f.write_str("auto"),
            Format::Rfc3339 => f.write_str("rfc3339"),
            Format::Epoch(Unit::ByLength) => f.write_str("epoch"),
            Format::Epoch(Unit::Seconds) => f.write_str("epoch:s"),
            Format::Epoch(Unit::Millis) => f.write_str("epoch:ms"),
            Format::Epoch(Unit::Micros) => f.write_str("epoch:us"),
            Format::Epoch(Unit::Nanos) => f.write_str("epoch:ns"),
            Format::Clf => f.write_str("clf"),
            Format::Syslog => f.write_str("syslog"),
            Format::Ctime => f.write_str("ctime"),
            Format::Json(fields) => write!(f, "json:{}", fields.join(",")),
            Format::Strptime(format) => write!(f, "strptime:{format}"),
            Format::Prefix(bytes) => write!(f, "prefix:{bytes}"),
        }
    }
}
