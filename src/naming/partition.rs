//! Partitions: in which directory below `path` a file appears.
//!
//! Guarantees: the directory depends on the time of a file and on what a state file says, and on
//! nothing else. So a recovery finds it without the writer. Refuses values that are no part of a
//! directory's name, and values that no template has.

use std::path::PathBuf;

use jiff::tz::TimeZone;

use crate::base::sys::{host, names};
use crate::config::{Boundary, UTC};
use crate::naming::Stamp;
use crate::naming::template::Template;
use crate::naming::zone::time_zone;
use crate::report::error::Error;

/// Where the files of one writer appear.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    template: Template,
    zone: TimeZone,
    /// By which a recovery finds the zone again.
    zone_name: String,
}

/// Why a state file's partition can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is no template that a writer makes.
    Damaged,
    /// This build, or this machine, does not know its time zone.
    TimeZone,
}

impl Partition {
    /// Checks a template with its values. `None` without a template.
    pub(crate) fn new(
        template: &str,
        values: &[(String, String)],
        zone_name: &str,
        zone: TimeZone,
    ) -> Result<Option<Self>, Error> {
        values.iter().try_for_each(|(name, value)| check_value(name, value))?;
        let set = |name: &str| values.iter().rfind(|(set, _)| set == name).map(|(_, value)| value);
        let known = |name: &str| match name {
            "host" => host(),
            "pid" => Some(std::process::id().to_string()),
            _ => set(name).cloned(),
        };
        let (template, used) = match template {
            "" => (None, Vec::new()),
            _ => Template::new(template, known).map(|(template, used)| (Some(template), used))?,
        };
        if let Some((name, _)) = values.iter().find(|(name, _)| !used.contains(&&**name)) {
            let permitted = format!("names that `partition` has in braces, as {{{name}}}");
            return Err(Error::option("partition_value", name, permitted));
        }
        // The environment of a recovery may be another one.
        let known = zone.iana_name().filter(|_| zone_name == "local");
        let zone_name = known.unwrap_or(zone_name).to_owned();
        Ok(template.map(|template| Partition { template, zone, zone_name }))
    }

    /// The partition that a state file describes, which may be hostile. `None` if it has none.
    pub(crate) fn restored(template: &str, zone_name: &str) -> Result<Option<Self>, Unusable> {
        if template.is_empty() {
            return Ok(None);
        }
        let template = Template::resolved(template.to_owned()).map_err(|_| Unusable::Damaged)?;
        let has_time = template.boundary() != Boundary::Never;
        let zone = time_zone(if has_time { zone_name } else { UTC });
        let (zone, zone_name) = (zone.map_err(|_| Unusable::TimeZone)?, zone_name.to_owned());
        Ok(Some(Partition { template, zone, zone_name }))
    }

    /// The directory of a file with this stamp, from `path` on.
    pub(crate) fn dir(&self, at: Stamp) -> Result<PathBuf, Error> {
        self.template.render(at, &self.zone)
    }

    /// The template without names, and the name of its time zone, for the state file.
    pub(crate) fn texts(&self) -> (&str, &str) {
        (self.template.text(), &self.zone_name)
    }

    /// Its template.
    pub(crate) fn template(&self) -> &Template {
        &self.template
    }
}

/// A value is a part of one directory's name.
fn check_value(name: &str, value: &str) -> Result<(), Error> {
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    if name.is_empty() || !name.chars().all(is_name) || matches!(name, "host" | "pid") {
        let permitted = "names of letters, digits and \"_\", other than host and pid";
        return Err(Error::option("partition_value", format!("{name:?}"), permitted));
    }
    if value.contains(char::is_control) || !names::permits(value.as_bytes()) {
        let permitted = format!("values without control characters, and {}", names::PERMITTED);
        return Err(Error::option("partition_value", format!("{name}={value:?}"), permitted));
    }
    Ok(())
}

/// The name of this machine, if it can be a part of a directory's name.
fn host() -> Option<String> {
    let name = host::name()?;
    check_value("name", &name).is_ok().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const STAMP: Stamp = Stamp(1_795_376_430_123_456_789);

    fn new(template: &str, values: &[(&str, &str)]) -> Result<Option<Partition>, Error> {
        let values: Vec<_> =
            values.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Partition::new(template, &values, UTC, TimeZone::UTC)
    }

    fn dir(template: &str, values: &[(&str, &str)]) -> PathBuf {
        new(template, values).unwrap().unwrap().dir(STAMP).unwrap()
    }

    #[test]
    fn values_stand_for_their_names() {
        let values = [("app", "old"), ("Tier_2", "50%"), ("app", "a.b c")];
        assert_eq!(dir("{app}-{Tier_2}/%F", &values), Path::new("a.b c-50%/2026-11-22"));
        let pid = std::process::id();
        assert_eq!(dir("p={pid}", &[]), Path::new(&format!("p={pid}")));
        let host = host::name().unwrap();
        assert_eq!(dir("h={host}", &[]), Path::new(&format!("h={host}")));
        assert!(new("", &[]).unwrap().is_none());
    }

    #[test]
    fn values_that_are_no_part_of_a_name_or_that_nobody_uses_are_refused_by_name() {
        for (template, name, value) in [
            ("{a}", "a", "x/y"),
            ("{a}", "a", "x\0"),
            ("{a}", "a", "x\n"),
            ("{a}", "", "x"),
            ("{a-b}", "a-b", "x"),
            ("{host}", "host", "x"),
            ("{pid}", "pid", "x"),
            ("{a}{b}", "b", "/"),
            ("%F", "unused", "x"),
            ("", "unused", "x"),
        ] {
            let values = [("a", "good"), (name, value)];
            let values = if template.contains("{a}") { &values[..] } else { &values[1..] };
            let error = new(template, values).expect_err(name);
            assert_eq!(error.operation(), "partition_value", "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        for value in ["..", ".", ".x", "_x", ""] {
            let error = new("{a}", &[("a", value)]).expect_err(value);
            assert_eq!(error.operation(), "partition", "{error}");
        }
        let long = "x".repeat(300);
        assert!(new("{a}", &[("a", &long)]).is_err());
    }

    #[test]
    fn a_state_file_restores_a_partition_and_refuses_what_no_writer_makes() {
        let partition = new("{a}/dt=%F", &[("a", "{%}")]).unwrap().unwrap();
        let (template, zone) = partition.texts();
        assert_eq!((template, zone), ("{%%}/dt=%F", "UTC"));
        let restored = Partition::restored(template, zone).unwrap().unwrap();
        assert_eq!(restored.dir(STAMP).unwrap(), partition.dir(STAMP).unwrap());
        assert!(Partition::restored("", "nowhere").unwrap().is_none());
        // Its zone does not matter.
        assert!(Partition::restored("a", "nowhere").unwrap().is_some());
        let fault = |template: &str, zone: &str| Partition::restored(template, zone).err();
        assert_eq!(fault("%F", "nowhere"), Some(Unusable::TimeZone));
        for hostile in ["..", "../../etc", "/etc", "a/../..", "a\0", "%T", "a//b"] {
            assert_eq!(fault(hostile, "UTC"), Some(Unusable::Damaged), "{hostile}");
        }
    }

    #[cfg(feature = "time-zone")]
    #[test]
    fn the_system_s_zone_is_noted_by_its_name() {
        let noted = |name: &str, zone: &str| {
            let zone = time_zone(zone).unwrap();
            let partition = Partition::new("%H", &[], name, zone).unwrap().unwrap();
            partition.texts().1.to_owned()
        };
        assert_eq!(noted("Europe/Berlin", "Europe/Berlin"), "Europe/Berlin");
        assert_eq!(noted("local", "Europe/Berlin"), "Europe/Berlin");
        let nameless = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let partition = Partition::new("%H", &[], "local", nameless).unwrap().unwrap();
        assert_eq!(partition.texts().1, "local");
    }
}
