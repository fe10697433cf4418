//! From a date and a time of day to nanoseconds since 1970.

use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::commands::merge::time::civil::Civil;

/// A line may be this much younger than its file: clocks differ.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// A calendar that remembers the last day, since neighbours in a log share it.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    zone: TimeZone,
    is_utc: bool,
    /// No time without a year is after this.
    newest: Timestamp,
    /// Year, month and day, and the seconds from 1970 to their midnight.
    day: ((i16, i8, i8), i64),
    /// A minute since 1970 of the zone's clock, and the zone's offset then.
    minute: (i64, i64),
}

/// The zone of this name: `UTC`, `local`, or an IANA name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "UTC" => Ok(TimeZone::UTC),
        "local" => TimeZone::try_system().map_err(|error| error.to_string()),
        name => {
            TimeZone::get(name).map_err(|_| "must be UTC, local or an IANA time zone".to_owned())
        }
    }
}

/// Within 64 bits.
pub(super) fn saturated(nanos: i128) -> i64 {
    nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

impl Calendar {
    pub(super) fn new(zone: &TimeZone, changed: SystemTime) -> Self {
        let changed = Timestamp::try_from(changed).unwrap_or(Timestamp::MAX);
        let newest = changed.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
        let is_utc = zone == &TimeZone::UTC;
        let day = ((1970, 1, 1), 0);
        Calendar { zone: zone.clone(), is_utc, newest, day, minute: (i64::MIN, 0) }
    }

    /// `None` if there is no such day.
    #[inline]
    pub(super) fn nanos(&mut self, civil: &Civil) -> Option<i64> {
        let day = (civil.year, civil.month, civil.day);
        if day != self.day.0 {
            self.day = (day, midnight(day)?);
        }
        let time = i64::from(civil.hour) * 3600 + i64::from(civil.minute) * 60;
        let clock = self.day.1 + time + i64::from(civil.second);
        let offset = match civil.offset {
            Some(offset) => offset.into(),
            None if self.is_utc => 0,
            None => self.zone_offset(clock, civil)?,
        };
        let nanos = (clock - offset).saturating_mul(1_000_000_000);
        Some(nanos.saturating_add(civil.nanos.into()))
    }

    /// The latest such time that is not after the file's, by more than a day.
    pub(super) fn nanos_without_year(&mut self, civil: &Civil) -> Option<i64> {
        let newest = self.newest.to_zoned(self.zone.clone()).year();
        let limit = saturated(self.newest.as_nanosecond());
        // Eight years have a 29th of February, but for those around 1900.
        (0..=8).find_map(|back| {
            let year = newest.checked_sub(back)?;
            self.nanos(&Civil { year, ..*civil }).filter(|&nanos| nanos <= limit)
        })
    }

    /// A time that comes twice is the first of the two; one that is skipped is moved by the gap.
    #[cold]
    fn zone_offset(&mut self, clock: i64, civil: &Civil) -> Option<i64> {
        if self.minute.0 == clock.div_euclid(60) {
            return Some(self.minute.1);
        }
        let date = Date::new(civil.year, civil.month, civil.day).ok()?;
        let local = date.at(civil.hour, civil.minute, 0, 0);
        let timestamp = self.zone.to_ambiguous_timestamp(local).compatible().ok()?;
        let offset = clock.div_euclid(60) * 60 - timestamp.as_second();
        self.minute = (clock.div_euclid(60), offset);
        Some(offset)
    }
}

/// Seconds from 1970 to the beginning of the day in UTC.
fn midnight((year, month, day): (i16, i8, i8)) -> Option<i64> {
    let days = Date::new(1970, 1, 1).ok()?.until(Date::new(year, month, day).ok()?).ok()?;
    Some(i64::from(days.get_days()) * 86_400)
}
