//! The template of a partition: directories below `path`, with codes for the time.
//!
//! Guarantees: what a template is rendered to lies below the directory that it is joined to. It has
//! neither an empty part nor `.`, `..`, a separator or NUL, and a bounded length. Each of its parts
//! begins with another character than `.` and `_`, since query engines skip those. It names one
//! directory throughout each of its periods. Refuses templates and values of which that does not
//! hold, and says what is permitted. Pure: the time is passed in.

use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use crate::base::sys::names;
use crate::config::Boundary;
use crate::naming::Stamp;
use crate::report::error::Error;

/// Bytes of one directory's name that file systems permit.
const NAME_BYTES_MAX: usize = 255;
/// Bytes of all directories together, and of a template. They leave room for `path` and a name.
const BYTES_MAX: usize = 700;
/// The name of the option, for errors.
const OPTION: &str = "partition";

const CODES: &str = "codes of a day, an hour or a minute: %Y %C %y %G %g %q %m %b %h %B %U %W %V %j %F %d %e %u %w \
                     %a %A, %H %I %k %l %p %P, %M, and %% for a percent sign; not of seconds, as each second \
                     would get a directory, and none with a separator";
const NAMES: &str = "{host}, {pid}, and each {name} that `partition_value` sets";
const PLAIN: &str =
    "directories with names, separated by one \"/\" each, without control characters";
const BELOW: &str = "directories below `path`, so none is \".\" or \"..\"";
const SEEN: &str =
    "directories that begin with neither \".\" nor \"_\", since query engines skip those";

const KEYS: &str =
    "directories with different names before \"=\", since engines make columns of them";

/// A template that is checked and has no names in braces any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    depth: usize,
    /// Within one such period it names one directory.
    boundary: Boundary,
    bytes_max: usize,
}

/// Why a text is no template, and what is permitted.
type Refused = (String, &'static str);

/// Whether two directories have the same text before `=`.
fn has_key_twice(text: &str) -> bool {
    let keys = || text.split('/').filter_map(|part| part.split_once('=')).map(|(key, _)| key);
    keys().enumerate().any(|(nth, key)| keys().skip(nth + 1).any(|other| other == key))
}

impl Template {
    /// Checks a template, and puts the values of its names in. Returns the names that it has, too.
    pub(crate) fn new(
        template: &str,
        value: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<&str>), Error> {
        let refused = |(value, permitted): Refused| Error::option(OPTION, value, permitted);
        let (mut text, mut names, mut rest) = (String::new(), Vec::new(), template);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, braces) = rest.split_at(at);
            let name = braces.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let unknown = |name: &str| refused((format!("{name} in {template:?}"), NAMES));
            let Some((name, after)) = name else { return Err(unknown(&braces[..1])) };
            let value = value(name).ok_or_else(|| unknown(&format!("{{{name}}}")))?;
            text.push_str(before);
            text.push_str(&value.replace('%', "%%"));
            names.push(name);
            rest = after;
        }
        text.push_str(rest);
        let template = Template::resolved(text).map_err(refused)?;
        if has_key_twice(template.text()) {
            return Err(refused((format!("{:?}", template.text), KEYS)));
        }
        Ok((template, names))
    }

    /// Checks a template whose names are replaced by their values. It may be hostile.
    pub(crate) fn resolved(text: String) -> Result<Self, Refused> {
        let (mut boundary, mut bytes_max, mut depth) = (Boundary::Never, 0, 0);
        let shown = || format!("{text:?}");
        for part in text.split('/') {
            let first = part.chars().next().ok_or_else(|| (shown(), PLAIN))?;
            if matches!(part, "." | "..") {
                return Err((shown(), BELOW));
            }
            if matches!(first, '.' | '_') {
                return Err((shown(), SEEN));
            }
            if part.chars().any(char::is_control) {
                return Err((shown(), PLAIN));
            }
            if !names::permits(part.as_bytes()) {
                return Err((shown(), names::PERMITTED));
            }
            let (bytes, finest) =
                measure(part).map_err(|code| (format!("{code:?} in {}", shown()), CODES))?;
            if bytes > NAME_BYTES_MAX {
                return Err((shown(), "directories with names of at most 255 bytes"));
            }
            boundary = boundary.finer(finest);
            (bytes_max, depth) = (bytes_max + bytes + 1, depth + 1);
        }
        // A percent sign stands twice.
        if bytes_max > BYTES_MAX || text.len() > 2 * BYTES_MAX {
            return Err((shown(), "at most 700 bytes"));
        }
        Ok(Template { text, depth, boundary, bytes_max })
    }

    /// The directory of this time in this zone, from `path` on.
    pub(crate) fn render(&self, at: Stamp, zone: &TimeZone) -> Result<PathBuf, Error> {
        // jiff reaches to the year 9999, so the default is never used.
        let at = Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(Timestamp::MAX);
        let made = strtime::format(&self.text, &at.to_zoned(zone.clone()));
        let made = made.ok().filter(|made| is_below(made, self.depth));
        made.map(PathBuf::from).ok_or_else(|| Error::option(OPTION, &self.text, PLAIN))
    }

    /// Its text, of which [`resolved`](Self::resolved) makes it again.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many directories lie between `path` and a file.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Where it may name another directory. `Never` without codes for the time.
    pub(crate) fn boundary(&self) -> Boundary {
        self.boundary
    }

    /// The most bytes that it is rendered to, with a separator behind each directory.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// Whether this leads down by `depth` plain directories.
fn is_below(made: &str, depth: usize) -> bool {
    let is_plain = |name: &str| {
        let is_seen = !name.is_empty() && !name.starts_with(['.', '_']);
        is_seen && name.len() <= NAME_BYTES_MAX && names::permits(name.as_bytes())
    };
    let mut parts = Path::new(made).components();
    made.split('/').all(is_plain)
        && made.split('/').count() == depth
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The most bytes of a directory's name, and its shortest period. An error is the code that is not
/// permitted.
fn measure(part: &str) -> Result<(usize, Boundary), String> {
    let (mut bytes, mut finest, mut chars) = (0, Boundary::Never, part.chars());
    while let Some(char) = chars.next() {
        if char != '%' {
            bytes += char.len_utf8();
            continue;
        }
        let mut code = String::from(char);
        code.extend(chars.next());
        if code == "%-" {
            // Without padding. jiff takes it for each code.
            code.extend(chars.next().filter(|&char| char != '%'));
        }
        let last = code.chars().last().filter(|_| code.len() > 1);
        let (most, boundary) = last.and_then(known).ok_or(code)?;
        (bytes, finest) = (bytes + most, finest.finer(boundary));
    }
    Ok((bytes, finest))
}

/// The most bytes that a code stands for, and for how long it stands for the same.
fn known(code: char) -> Option<(usize, Boundary)> {
    let bytes = match code {
        '%' => return Some((1, Boundary::Never)),
        'H' | 'I' | 'k' | 'l' | 'p' | 'P' => return Some((2, Boundary::Hours(1))),
        'M' => return Some((2, Boundary::Minutes(1))),
        'q' | 'u' | 'w' => 1,
        'C' | 'y' | 'g' | 'm' | 'U' | 'W' | 'V' | 'd' | 'e' => 2,
        'b' | 'h' | 'j' | 'a' => 3,
        'Y' | 'G' => 4,
        'B' | 'A' => 9,
        'F' => 10,
        _ => return None,
    };
    Some((bytes, Boundary::Day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// 2026-11-22, a Sunday, 19:40:30.
    const STAMP: Stamp = Stamp(1_795_376_430_123_456_789);
    const ALL: &str = "YCyGgqmbhBUWVjFdeuwaAHIklpPM";

    fn new(template: &str) -> Result<Template, Error> {
        let value = |name: &str| Some(name.strip_prefix("is_")?.to_owned());
        Template::new(template, value).map(|(template, _)| template)
    }

    fn rendered(template: &str) -> String {
        let dir = new(template).unwrap().render(STAMP, &TimeZone::UTC).unwrap();
        dir.into_os_string().into_string().unwrap()
    }

    #[test]
    fn codes_and_names_are_replaced() {
        for (template, expected) in [
            ("dt=%Y-%m-%d/hour=%H", "dt=2026-11-22/hour=19"),
            ("dt=%F/m=%H%M", "dt=2026-11-22/m=1940"),
            ("%G-W%V/%A", "2026-W47/Sunday"),
            ("h=%-I%p", "h=7PM"),
            ("100%%/%q", "100%/4"),
            ("app={is_shop}/x{is_}y", "app=shop/xy"),
            // No code comes into being.
            ("{is_%H}%%{is_%}d", "%H%%d"),
            ("\u{e9}/{is_\u{1f980}}", "\u{e9}/\u{1f980}"),
            ("a b", "a b"),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
    }

    #[test]
    fn a_zone_has_its_own_days() {
        let template = new("%F/%H").unwrap();
        let dir = template.render(STAMP, &TimeZone::posix("<+0545>-5:45").unwrap());
        assert_eq!(dir.unwrap(), Path::new("2026-11-23/01"));
    }

    #[test]
    fn what_could_lead_out_or_is_not_seen_is_refused_with_what_is_permitted() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let deep = vec!["x".repeat(200); 6].join("/");
        for (template, value, permitted) in [
            ("/%F", "\"/%F\"", PLAIN),
            ("%F/", "\"%F/\"", PLAIN),
            ("a//b", "\"a//b\"", PLAIN),
            ("a\0", "\"a\\0\"", PLAIN),
            ("a\n", "\"a\\n\"", PLAIN),
            (".", "\".\"", BELOW),
            ("a/..", "\"a/..\"", BELOW),
            ("a/../b", "\"a/../b\"", BELOW),
            (".hidden", "\".hidden\"", SEEN),
            ("a/_b", "\"a/_b\"", SEEN),
            ("{is_..}", "\"..\"", BELOW),
            ("a=%Y/b=1/a=%m", "\"a=%Y/b=1/a=%m\"", KEYS),
            ("a/{is_}", "\"a/\"", PLAIN),
            ("%F %T", "\"%T\" in \"%F %T\"", CODES),
            ("%D", "\"%D\" in \"%D\"", CODES),
            ("%s", "\"%s\" in \"%s\"", CODES),
            ("%Q", "\"%Q\" in \"%Q\"", CODES),
            ("%_d", "\"%_\" in \"%_d\"", CODES),
            ("%-%", "\"%-\" in \"%-%\"", CODES),
            ("a%", "\"%\" in \"a%\"", CODES),
            ("%-", "\"%-\" in \"%-\"", CODES),
            ("%/", "\"%\" in \"%/\"", CODES),
            ("a={b}", "{b} in \"a={b}\"", NAMES),
            ("a={", "{ in \"a={\"", NAMES),
            ("a}", "} in \"a}\"", NAMES),
            (&long, "xxx", "255 bytes"),
            (&deep, "xxx", "700 bytes"),
        ] {
            let error = new(template).expect_err(template);
            assert_eq!(error.operation(), OPTION, "{template}");
            let text = error.to_string();
            assert!(text.contains(value) && text.contains(permitted), "{template}: {text}");
        }
    }

    #[test]
    fn the_finest_code_says_where_files_end() {
        use Boundary::{Day, Hours, Minutes, Never};
        for (template, boundary, depth) in [
            ("host={is_a}", Never, 1),
            ("100%%", Never, 1),
            ("%Y", Day, 1),
            ("%F/%-H", Hours(1), 2),
            ("%p/%Y/%B", Hours(1), 3),
            ("%Y/%m/%d/%H%M", Minutes(1), 4),
        ] {
            let template = new(template).unwrap();
            assert_eq!((template.boundary(), template.depth()), (boundary, depth), "{template:?}");
            // What a state file says is read as it was.
            assert_eq!(Template::resolved(template.text().to_owned()), Ok(template));
        }
    }

    #[test]
    fn each_code_has_a_name_of_no_more_than_its_bytes_whatever_the_time() {
        for code in ALL.chars() {
            let (most, boundary) = known(code).unwrap();
            for template in [format!("%{code}"), format!("%-{code}")] {
                let template = new(&template).unwrap();
                assert_eq!((template.bytes_max(), template.boundary()), (most + 1, boundary));
                for nth in 0..2000 {
                    let at = Stamp((u64::MAX / 1999).saturating_mul(nth).max(1));
                    let dir = template.render(at, &TimeZone::UTC).unwrap();
                    let len = dir.as_os_str().len();
                    assert!((1..=most).contains(&len), "%{code}: {dir:?}");
                }
            }
        }
    }

    #[test]
    fn no_other_code_is_known() {
        let others = (0..=0xff).map(char::from).filter(|code| !ALL.contains(*code) && *code != '%');
        others.for_each(|code| assert!(known(code).is_none(), "{code}"));
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => proptest::sample::select(ALL.chars().collect::<Vec<_>>()).prop_map(|c| format!("%{c}")),
            4 => Just("/".to_owned()),
            4 => "[a-z=._-]{1,4}",
            2 => Just("..".to_owned()),
            2 => any::<char>().prop_map(String::from),
            2 => "[%./\0_-]{1,3}",
            1 => Just("{is_..}".to_owned()),
            1 => any::<char>().prop_map(|c| format!("{{is_{c}}}")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        /// As a test of Vector for its templated paths.
        #[test]
        fn nothing_leads_out_of_the_directory(pieces in vec(piece(), 1..12), at in 1..u64::MAX) {
            let text = pieces.concat();
            let path = Path::new("/var/log/ready");
            for template in [new(&text).ok(), Template::resolved(text).ok()].into_iter().flatten() {
                let dir = template.render(Stamp(at), &TimeZone::UTC).unwrap();
                let full = path.join(&dir);
                prop_assert!(full.starts_with(path), "{full:?}");
                prop_assert_eq!(full.components().count(), 4 + template.depth(), "{:?}", full);
                prop_assert!(full.components().all(|part| !matches!(part, Component::ParentDir)));
                prop_assert!(dir.as_os_str().len() < template.bytes_max());
                let is_plain = |part: &std::ffi::OsStr| {
                    let part = part.as_encoded_bytes();
                    let is_name = names::permits(part) && !b"._".contains(&part[0]);
                    part.len() <= NAME_BYTES_MAX && is_name
                };
                prop_assert!(dir.iter().all(is_plain), "{:?}", dir);
            }
        }
    }
}
