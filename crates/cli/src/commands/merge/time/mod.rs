//! The time of a line, in nanoseconds since 1970.
//!
//! Guarantees: a line's time depends on the line, the options and the file's time of change alone.
//! Refuses: lines whose text is not of the format. They have no time. Times before 1678 and after
//! 2262 count as the first and the last of this range.

mod calendar;
mod civil;
mod format;
mod json;

use std::time::SystemTime;

use jiff::fmt::strtime::BrokenDownTime;

use calendar::Calendar;
pub(crate) use calendar::zone;
pub(crate) use format::{Format, Unit};

/// Lines of a file by which its format is chosen.
const SAMPLE_LINES: usize = 100;

/// Reads the times of one file's lines.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    format: Format,
    calendar: Calendar,
    /// The text that `strptime` took last, with the byte after it, and its time.
    last: Option<(Vec<u8>, i64)>,
}

impl Times {
    /// For a file that was changed at this time, in the light of which a date without a year is read.
    pub(crate) fn new(format: Format, zone: &jiff::tz::TimeZone, changed: SystemTime) -> Self {
        Times { format, calendar: Calendar::new(zone, changed), last: None }
    }

    /// Chooses the format that most of the first lines have, if the operator did not.
    pub(crate) fn detect(&mut self, lines: &[u8]) {
        if self.format != Format::Auto {
            return;
        }
        let lines: Vec<_> = lines.split(|&byte| byte == b'\n').take(SAMPLE_LINES).collect();
        let mut best = (0, Format::Auto);
        for format in Format::candidates() {
            let has_time = |line: &&&[u8]| parse(&format, &mut self.calendar, line).is_some();
            let count = lines.iter().filter(has_time).count();
            if count > best.0 {
                best = (count, format);
            }
        }
        self.format = best.1;
    }

    /// The line's time, if it has one.
    #[inline]
    pub(crate) fn of(&mut self, line: &[u8]) -> Option<i64> {
        match &self.format {
            Format::Auto => self.first_of(line),
            Format::Strptime(format) => {
                if let Some((text, time)) = &self.last {
                    if line.starts_with(text) {
                        return Some(*time);
                    }
                }
                let (time, taken) = strptime(format, &mut self.calendar, line)?;
                // With the next byte, so that a number that goes on is another one.
                let text = line.get(..=taken)?.to_vec();
                self.last = Some((text, time));
                Some(time)
            }
            format => parse(format, &mut self.calendar, line),
        }
    }

    /// The first line with a time decides, where none of the sample had one.
    #[cold]
    fn first_of(&mut self, line: &[u8]) -> Option<i64> {
        let calendar = &mut self.calendar;
        let (time, format) = Format::candidates()
            .into_iter()
            .find_map(|format| Some((parse(&format, calendar, line)?, format)))?;
        self.format = format;
        Some(time)
    }
}

fn parse(format: &Format, calendar: &mut Calendar, line: &[u8]) -> Option<i64> {
    match format {
        Format::Rfc3339 => calendar.nanos(&civil::rfc3339(civil::after_priority(line))?),
        Format::Clf => memchr::memchr_iter(b'[', line)
            .find_map(|at| calendar.nanos(&civil::clf(&line[at + 1..])?)),
        Format::Syslog => calendar.nanos_without_year(&civil::syslog(civil::after_priority(line))?),
        Format::Ctime => calendar.nanos(&civil::ctime(civil::after_priority(line))?),
        Format::Epoch(unit) => civil::epoch(civil::after_priority(line), *unit),
        Format::Json(fields) => json::find(line, fields, |value| {
            let text = civil::rfc3339(value).and_then(|civil| calendar.nanos(&civil));
            text.or_else(|| civil::epoch(value, Unit::ByLength))
        }),
        Format::Strptime(format) => strptime(format, calendar, line).map(|(time, _)| time),
        Format::Auto | Format::Prefix(_) => None,
    }
}

/// The time at the beginning of the line, and the length of its text.
fn strptime(format: &str, calendar: &mut Calendar, line: &[u8]) -> Option<(i64, usize)> {
    let (parsed, taken) = BrokenDownTime::parse_prefix(format, line).ok()?;
    // With an offset, or as seconds since 1970.
    if let Ok(timestamp) = parsed.to_timestamp() {
        return Some((calendar::saturated(timestamp.as_nanosecond()), taken));
    }
    if parsed.year().is_none() {
        let time = parsed.to_time().ok()?;
        let civil = civil::Civil {
            month: parsed.month()?,
            day: parsed.day()?,
            ..civil::Civil::at_time(time)
        };
        return Some((calendar.nanos_without_year(&civil)?, taken));
    }
    // A day without a time of day begins at midnight.
    let date = parsed.to_date().ok()?;
    let time = parsed.to_time().unwrap_or_default();
    let civil = civil::Civil {
        year: date.year(),
        month: date.month(),
        day: date.day(),
        ..civil::Civil::at_time(time)
    };
    Some((calendar.nanos(&civil)?, taken))
}

#[cfg(test)]
mod tests;
