//! One published file, as the journal notes it and as the manifest lists it.
//!
//! Guarantees: a line of the manifest is valid JSON, whatever the names are.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use crate::base::sys::names;
use crate::naming::Stamp;
use crate::naming::file_name::FileName;
use crate::report::published::{PublishReason, PublishedFile};
use crate::report::stats::Count;

/// How each line of a manifest begins.
pub(super) const LINE_BEGIN: &str = "{\"id\":\"";

/// A file that is about to become visible, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// Its path below the directory of visible files.
    pub(crate) relative: PathBuf,
    /// No record in it is older. It is the stamp of its temp file.
    pub(crate) first: Stamp,
    /// No record in it is newer.
    pub(crate) last: Stamp,
    /// Its length on the disk.
    pub(crate) bytes: u64,
    pub(crate) records: Count,
    pub(crate) reason: PublishReason,
}

impl Publication {
    /// The parts of its name. `None` if the path is not that of a visible file.
    pub(crate) fn name(&self) -> Option<FileName> {
        FileName::parse(self.relative.file_name()?)
    }

    /// The stamp in its name.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.name().map(|name| Stamp::of(name.time))
    }

    /// Whether the path is one of ours, is one at all, and leads out of no directory.
    pub(crate) fn is_sound(&self) -> bool {
        let is_plain = |part| match part {
            Component::Normal(name) => names::permits(name.as_encoded_bytes()),
            _ => false,
        };
        self.name().is_some() && self.relative.components().all(is_plain)
    }

    /// What users are told of it. `dir` is the directory of visible files.
    pub(crate) fn told(&self, dir: &Path) -> Option<PublishedFile> {
        let FileName { instance, worker, sequence, .. } = self.name()?;
        Some(PublishedFile {
            id: id(instance, worker, sequence),
            path: dir.join(&self.relative),
            relative_path: self.relative.clone(),
            bytes: self.bytes,
            records: self.records,
            first: self.first.min(self.last).time(),
            last: self.last.max(self.first).time(),
            worker,
            sequence,
            instance,
            reason: self.reason,
            partition: partition(&self.relative),
        })
    }

    /// What tells it from all other files.
    pub(crate) fn id(&self) -> Option<String> {
        let FileName { instance, worker, sequence, .. } = self.name()?;
        Some(id(instance, worker, sequence))
    }

    /// Its line in the manifest, with the newline. `None` if the path is not that of a visible file.
    pub(crate) fn line(&self) -> Option<String> {
        let FileName { instance, worker, sequence, .. } = self.name()?;
        let Publication { relative, first, last, bytes, records, reason } = self;
        let mut line = String::with_capacity(400);
        line.push_str(LINE_BEGIN);
        line.push_str(&self.id()?);
        line.push_str("\",\"path\":");
        // Between directories stands "/" on each system.
        let parts: Vec<_> = relative.iter().map(OsStr::to_string_lossy).collect();
        quote(&mut line, &parts.join("/"));
        let Count { records, bytes: record_bytes } = records;
        // The clock may have been set back meanwhile.
        let (first, last) = (first.min(last).rfc3339(), last.max(first).rfc3339());
        // Writing to a string can't fail.
        let _ = write!(
            line,
            ",\"bytes\":{bytes},\"records\":{records},\"record_bytes\":{record_bytes},\
             \"first\":\"{first}\",\"last\":\"{last}\",\"worker\":{worker},\
             \"sequence\":{sequence},\"instance\":\"{instance:016x}\",\"reason\":\"{reason}\",\
             \"partition\":{{"
        );
        for (nth, (name, value)) in partition(relative).iter().enumerate() {
            if nth > 0 {
                line.push(',');
            }
            quote(&mut line, name);
            line.push(':');
            quote(&mut line, value);
        }
        line.push_str("}}\n");
        Some(line)
    }
}

fn id(instance: u64, worker: usize, sequence: u64) -> String {
    format!("{instance:016x}-w{worker}-{sequence}")
}

/// The pairs of name and value that directories of the form `name=value` say.
fn partition(relative: &Path) -> Vec<(String, String)> {
    let dirs = relative.parent().unwrap_or(Path::new(""));
    let pair = |dir: &Path| {
        let text = dir.to_string_lossy();
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    dirs.iter().filter_map(|dir| pair(dir.as_ref())).collect()
}

/// Appends a JSON string, as RFC 8259 has it.
fn quote(line: &mut String, text: &str) {
    line.push('"');
    for character in text.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
    line.push('"');
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bufferedwriter_testkit::os::OsStrExt;

    /// The file with this number of a worker.
    pub(crate) fn publication(worker: usize, seq: u64) -> Publication {
        let name = format!("p20261122T194030.123456789Z-000000000000feed-7-w{worker}-{seq}.log");
        Publication {
            relative: Path::new("dt=2026-11-22/m=1940").join(name),
            first: Stamp(1_795_376_430_000_000_000),
            last: Stamp(1_795_376_430_123_456_789),
            bytes: 1000,
            records: Count::new(10, 900),
            reason: PublishReason::Age,
        }
    }

    #[test]
    fn a_line_says_everything() {
        let line = publication(3, 42).line().unwrap();
        let expected = "{\"id\":\"000000000000feed-w3-42\",\
            \"path\":\"dt=2026-11-22/m=1940/p20261122T194030.123456789Z-000000000000feed-7-w3-42.log\",\
            \"bytes\":1000,\"records\":10,\"record_bytes\":900,\
            \"first\":\"2026-11-22T19:40:30Z\",\"last\":\"2026-11-22T19:40:30.123456789Z\",\
            \"worker\":3,\"sequence\":42,\"instance\":\"000000000000feed\",\"reason\":\"age\",\
            \"partition\":{\"dt\":\"2026-11-22\",\"m\":\"1940\"}}\n";
        assert_eq!(line, expected);
        let told = publication(3, 42).told(Path::new("/out")).unwrap();
        assert_eq!((told.id.as_str(), told.sequence), ("000000000000feed-w3-42", 42));
        assert!(told.path.starts_with("/out/dt=2026-11-22"));
        assert_eq!(told.partition[1], ("m".to_owned(), "1940".to_owned()));
    }

    #[test]
    fn a_clock_that_was_set_back_changes_the_order_of_neither() {
        let good = publication(3, 42);
        let back = Publication { first: good.last, last: good.first, ..good.clone() };
        assert_eq!(back.line(), good.line());
        let (good, back) = (good.told(Path::new("/")), back.told(Path::new("/")));
        assert_eq!(good.map(|told| told.first), back.map(|told| told.first));
    }

    /// Names are quoted, so a line is one line and valid JSON.
    #[test]
    fn names_of_all_bytes_stay_within_their_strings() {
        let all = [&b"a\"b\\"[..], b"\n\r\t\0", b"\xff\xfe", "\u{2028}\u{e9}".as_bytes(), b"="];
        // Windows has no names with some of them.
        for name in all.into_iter().filter(|name| cfg!(unix) || names::permits(name)) {
            let mut odd = publication(0, 1);
            let dir = [b"k=", name].concat();
            odd.relative =
                Path::new(OsStr::from_bytes(&dir)).join(odd.relative.file_name().unwrap());
            let line = odd.line().unwrap();
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["partition"]["k"], *String::from_utf8_lossy(name));
            assert_eq!(line.matches('\n').count(), 1);
        }
    }

    #[test]
    fn only_paths_of_files_below_the_directory_are_sound() {
        let sound = publication(0, 1);
        assert!(sound.is_sound());
        let name = sound.relative.file_name().unwrap();
        for path in [Path::new("..").join(name), Path::new("/").join(name), "a/b".into(), "".into()]
        {
            let other = Publication { relative: path, ..sound.clone() };
            assert!(!other.is_sound(), "{other:?}");
        }
        let other = Publication { relative: "x.log".into(), ..sound };
        assert!(other.line().is_none() && other.told(Path::new("/")).is_none());
    }
}
