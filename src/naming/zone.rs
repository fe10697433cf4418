//! Looks up time zones.
//!
//! Guarantees: UTC needs neither files nor the feature `time-zone`. With the feature, the system's
//! database comes first, and the bundled one knows what is missing there: an image may have no
//! database, or a part of one. Refuses: names that neither knows.

use jiff::tz::TimeZone;

use crate::config::UTC;
use crate::report::error::Error;

/// The time zone of this name.
pub(crate) fn time_zone(name: &str) -> Result<TimeZone, Error> {
    if name == UTC {
        return Ok(TimeZone::UTC);
    }
    find(name).map_err(|permitted| Error::option("time_zone", format!("{name:?}"), permitted))
}

/// An error says what is permitted.
#[cfg(feature = "time-zone")]
fn find(name: &str) -> Result<TimeZone, &'static str> {
    use jiff::tz::{TimeZoneDatabase, db};

    if name == "local" {
        let here = "\"local\" where TZ or /etc/localtime has the system's time zone";
        return TimeZone::try_system().map_err(|_| here);
    }
    let known = db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    // jiff has a name for zones that are not known.
    known.ok().filter(|zone| !zone.is_unknown()).ok_or("\"UTC\", \"local\", or an IANA time zone")
}

/// An error says what is permitted.
#[cfg(not(feature = "time-zone"))]
fn find(_name: &str) -> Result<TimeZone, &'static str> {
    Err("\"UTC\", unless bufferedwriter is built with its feature `time-zone`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_is_always_there() {
        assert_eq!(time_zone("UTC").unwrap(), TimeZone::UTC);
    }

    #[cfg(feature = "time-zone")]
    #[test]
    fn zones_are_known_by_their_names_and_nothing_else_is() {
        for name in ["Europe/Berlin", "Asia/Kathmandu", "america/st_johns", "Etc/UTC"] {
            assert!(time_zone(name).is_ok(), "{name}");
        }
        for name in
            ["", "Europe", "Europe/Atlantis", "Etc/Unknown", "../zoneinfo/UTC", "/etc/localtime"]
        {
            let error = time_zone(name).expect_err(name);
            assert_eq!(error.operation(), "time_zone");
            assert!(error.to_string().contains("an IANA time zone"), "{error}");
        }
    }

    #[cfg(not(feature = "time-zone"))]
    #[test]
    fn other_zones_are_refused_with_the_name_of_the_feature() {
        for name in ["local", "Europe/Berlin", ""] {
            let text = time_zone(name).expect_err(name).to_string();
            assert!(text.contains(name) && text.contains("`time-zone`"), "{text}");
        }
    }
}
