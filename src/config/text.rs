//! Values of options as people write them, and back: `64KiB`, `1m30s`, `zstd:3`, `15m`.
//!
//! Guarantees: this is the one parser of such values, for [`Config`](crate::Config) and for programs. What
//! it makes of a value, it reads as the same value. Ranges are left to `check.rs`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

/// Why a text is not a value: a short phrase, without the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(String);

impl ParseError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        ParseError(why.into())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ParseError {}

/// Units of a size with their bytes, the largest first. One letter alone is the decimal unit.
const UNITS: [(&str, u64); 12] = [
    ("EiB", 1 << 60),
    ("EB", 1_000_000_000_000_000_000),
    ("PiB", 1 << 50),
    ("PB", 1_000_000_000_000_000),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
];

/// A number of bytes: `8192`, `8KB` (1000), `64KiB` (1024), `10 MB`, `1.5GiB`. A number alone is bytes.
///
/// Units may have any case, and `64k` is `64kB`. A fraction must give a whole number of bytes, since nothing is
/// rounded.
///
/// ```
/// use bufferedwriter::text;
/// assert_eq!(text::size("64KiB"), Ok(65_536));
/// assert_eq!(text::size("10 MB"), Ok(10_000_000));
/// assert_eq!(text::size("1.5GiB"), Ok(1_610_612_736));
/// assert!(text::size("0.5").is_err());
/// ```
///
/// # Errors
///
/// If it is not a number with such a unit, has a fraction of a byte, or does not fit 64 bits.
pub fn size(text: &str) -> Result<u64, ParseError> {
    let not_a_size = || ParseError::new("not a size, such as 8192, 8KB or 64KiB");
    let (number, rest) = split_digits(text);
    let (fraction, unit) = rest.strip_prefix('.').map_or(("0", rest), split_digits);
    if number.is_empty() || fraction.is_empty() {
        return Err(not_a_size());
    }
    let bytes = match unit.trim_start_matches(' ') {
        "" if unit.is_empty() => 1,
        "B" | "b" => 1,
        unit => bytes_of(unit).ok_or_else(not_a_size)?,
    };
    let number = number.parse::<u64>().ok();
    let whole = number.and_then(|number| number.checked_mul(bytes));
    let part =
        part_of(fraction, bytes).ok_or_else(|| ParseError::new("not a whole number of bytes"))?;
    whole
        .and_then(|whole| whole.checked_add(part))
        .ok_or_else(|| ParseError::new("does not fit 64 bits"))
}

/// The bytes that these digits behind a point are of a unit, if that is a whole number.
fn part_of(digits: &str, unit: u64) -> Option<u64> {
    let digits = digits.trim_end_matches('0');
    // Fails beyond 38 digits, which is more than anybody writes.
    let parts = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let bytes = format!("0{digits}").parse::<u128>().ok()?.checked_mul(unit.into())?;
    if bytes % parts == 0 { u64::try_from(bytes / parts).ok() } else { None }
}

/// The digits at the beginning, and the rest.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn bytes_of(unit: &str) -> Option<u64> {
    let is = |name: &str| {
        let letter = if name.len() == 2 { &name[..1] } else { &name[..2] };
        unit.eq_ignore_ascii_case(name) || unit.eq_ignore_ascii_case(letter)
    };
    UNITS.iter().find(|(name, _)| is(name)).map(|&(_, bytes)| bytes)
}

/// The shortest text of a size, in the largest unit that leaves no fraction.
pub(crate) fn show_size(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes % *unit == 0);
    whole.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A duration with its units: `100ms`, `5s`, `1m30s`, `2h 30min`, `30 days`. Only `0` needs no unit.
///
/// A day has 24 hours and a week 7 days. Months and years are refused, since they differ in length.
///
/// ```
/// use std::time::Duration;
/// use bufferedwriter::text;
/// assert_eq!(text::duration("1m30s"), Ok(Duration::from_secs(90)));
/// assert!(text::duration("5").is_err()); // seconds or milliseconds?
/// ```
///
/// # Errors
///
/// If it has no unit or an unknown one, is negative, or is longer than 19,998 years.
pub fn duration(text: &str) -> Result<Duration, ParseError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    // The first takes no days, the second no more than a calendar has.
    let parser = SpanParser::new();
    let exact = parser.parse_unsigned_duration(text).ok();
    let with_days = || {
        let span = parser.parse_span(text).ok()?;
        let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Duration::try_from(signed).ok()
    };
    let duration = exact.or_else(with_days);
    let is_negative = || parser.parse_span(text).is_ok_and(|span| span.is_negative());
    duration.ok_or_else(|| {
        if is_negative() {
            ParseError::new("must not be negative")
        } else {
            ParseError::new("not a duration with a unit, such as 100ms, 5s or 1m30s")
        }
    })
}

/// Days in a duration up to this are written as days, which the calendar of the parser limits.
const DAYS_MAX: u64 = 1_000_000;

/// The text of a duration, in whole units.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    let mut parts = Vec::new();
    for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        let number = seconds / length;
        if number > 0 && (unit != "d" || number <= DAYS_MAX) {
            parts.push(format!("{number}{unit}"));
            seconds %= length;
        }
    }
    let nanos = duration.subsec_nanos();
    let (unit, length) = match nanos {
        nanos if nanos % 1_000_000 == 0 => ("ms", 1_000_000),
        nanos if nanos % 1000 == 0 => ("us", 1000),
        _ => ("ns", 1),
    };
    if nanos > 0 {
        parts.push(format!("{}{unit}", nanos / length));
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}

/// Permissions in octal digits, as chmod(1) takes them: `0640`, `640`, `0o640`.
///
/// ```
/// assert_eq!(bufferedwriter::text::mode("0640"), Ok(0o640));
/// ```
///
/// # Errors
///
/// If it has other characters than octal digits, or does not fit 32 bits.
pub fn mode(text: &str) -> Result<u32, ParseError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // The parser would take a sign.
    let octal = digits.starts_with(|c: char| c.is_digit(8));
    let mode = octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
    mode.ok_or_else(|| ParseError::new("not an octal number, such as 0640"))
}

/// A whole number without a sign.
pub(crate) fn count<N: FromStr>(text: &str) -> Result<N, ParseError> {
    // The parser would take a sign.
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| ParseError::new("not a whole number, such as 8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("8192", 8192),
            ("8KB", 8000),
            ("8kB", 8000),
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("64kib", 65_536),
            ("64Ki", 65_536),
            ("64k", 64_000),
            ("10 MB", 10_000_000),
            ("1GiB", 1 << 30),
            ("15EiB", 15 << 60),
            ("12B", 12),
            ("1.5KiB", 1536),
            ("1.5GiB", 3 << 29),
            ("0.5kB", 500),
            ("1.000 MB", 1_000_000),
            ("2.0", 2),
            ("0.000001MB", 1),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "-1",
            "+1KiB",
            "0.5",
            "1.0001KiB",
            "0.0000001MB",
            "1.",
            "1.KiB",
            ".5KiB",
            "1.5.5KiB",
            "0.33333333333333333333333333333333333333333333333333333333333EiB",
            "KiB",
            "8 apples",
            "99999999999EiB",
            "16EiB",
            "18446744073709551616",
            "1e3",
            "0x10",
            " 1",
            "1 ",
            "1K B",
            "1\u{b5}",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("100ms", 100),
            ("5s", 5000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("1.5h", 5_400_000),
            ("2h 30min", 9_000_000),
            ("30days", 30 * 86_400_000),
            ("30 d", 30 * 86_400_000),
            ("1week", 7 * 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "5", "-5s", "5s ago", "s", "1.5.5s", "5 apples", "1month", "1y", "-1d", " 5s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["-5s", "5s ago", "-1d", "-1h30m"] {
            assert_eq!(duration(text).unwrap_err().to_string(), "must not be negative", "{text}");
        }
    }

    #[test]
    fn modes() {
        for (text, expected) in [("0640", 0o640), ("640", 0o640), ("0o640", 0o640), ("0", 0)] {
            assert_eq!(mode(text), Ok(expected), "{text}");
        }
        for text in ["", "8", "+640", "-640", "0x1ff", "77777777777777", "rw-r--r--"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_written_is_read_as_the_same(
            bytes in any::<u64>(),
            shift in 0..64_u32,
            seconds in any::<u64>(),
            nanos in 0..1_000_000_000_u32,
        ) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
            let time = Duration::new(seconds >> shift, nanos / 1000_u32.pow(shift % 3) * 1000_u32.pow(shift % 3));
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in any::<String>(), number in any::<u64>(), rest in ".{0,8}") {
            for text in [text, format!("{number}{rest}")] {
                drop((size(&text), duration(&text), mode(&text)));
            }
        }
    }
}
