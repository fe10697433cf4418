//! What users are told, through serde: for a status page, a log line or a file.
//!
//! Guarantees: each public field is there under its name; one that is forgotten does not compile. A duration is in
//! seconds, as a number, and a moment is the seconds since then. An error is its text. Never fails: a path that is
//! no UTF-8 is shown with replacement characters.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_core::ser::{Serialize, SerializeStruct, Serializer};

use crate::report::close::CloseReport;
use crate::report::error::Error;
use crate::report::health::{Health, Stall};
use crate::report::published::{HookStall, ManifestStall};
use crate::report::stats::{
    Count, GuardStats, Lost, Missing, PublishStats, Refused, RetentionStats, Stats, WorkerStats,
};

/// A field as it is serialised.
trait Field {
    type Shown<'a>: Serialize
    where
        Self: 'a;

    fn shown(&self) -> Self::Shown<'_>;
}

/// What is serialised as it is.
macro_rules! as_it_is {
    ($($type:ty),*) => {
        $(impl Field for $type {
            type Shown<'a> = &'a $type;

            fn shown(&self) -> &$type {
                self
            }
        })*
    };
}

as_it_is!(bool, u64, usize, String, Count, Refused, Lost, Missing, Error);
as_it_is!(Vec<WorkerStats>, Vec<Stall>, Option<GuardStats>, Option<PublishStats>);
as_it_is!(
    Option<RetentionStats>,
    Option<ManifestStall>,
    Option<HookStall>,
    Option<Error>,
    Option<u64>
);

impl Field for Duration {
    type Shown<'a> = f64;

    fn shown(&self) -> f64 {
        self.as_secs_f64()
    }
}

impl Field for Instant {
    type Shown<'a> = f64;

    fn shown(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

impl Field for Option<Instant> {
    type Shown<'a> = Option<f64>;

    fn shown(&self) -> Option<f64> {
        self.map(|moment| moment.shown())
    }
}

impl Field for PathBuf {
    type Shown<'a> = Text<'a>;

    fn shown(&self) -> Text<'_> {
        Text(self)
    }
}

impl Field for Option<PathBuf> {
    type Shown<'a> = Option<Text<'a>>;

    fn shown(&self) -> Option<Text<'_>> {
        self.as_deref().map(Text)
    }
}

struct Text<'a>(&'a Path);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.display())
    }
}

/// Its text, as `Display` has it.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A table with all fields of a type, which must name each of them.
macro_rules! table {
    ($($type:ident { $($field:ident),* $(,)? })*) => {
        $(
            /// A table with the names of the fields. Durations are seconds, moments are seconds since then,
            /// errors are their text.
            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let $type { $($field),* } = self;
                    let fields = [$(stringify!($field)),*].len();
                    let mut table = serializer.serialize_struct(stringify!($type), fields)?;
                    $(table.serialize_field(stringify!($field), &$field.shown())?;)*
                    table.end()
                }
            }
        )*
    };
}

table! {
    Count { records, bytes }
    Refused { full, too_large, closed, disk_guard, format, out_of_memory }
    Lost { shutdown, temp_file_removed, temp_file_damaged, gave_up }
    Stats {
        accepted, written, pending, lost, overwritten, refused, files, files_bytes, memory_bytes, memory_bound_bytes, temp_dir,
        workers, disk_guard, missing, publishing, retention, latest_error,
    }
    WorkerStats {
        backlog_chunks, temp_file_bytes, temp_file, temp_file_is_direct, codec_time, last_error,
    }
    GuardStats { refuses, free_bytes, total_bytes, measured_at, last_error }
    RetentionStats { files_deleted, bytes_deleted, held_by, last_error }
    PublishStats { listed, unlisted, acknowledged, gone, unacknowledged }
    Missing { locks, permissions }
    Health { stalls, manifest, hook }
    Stall { worker, error, since, lasting, attempts, held_chunks, held_in_file }
    ManifestStall { error, since, attempts }
    HookStall { file, error, since, lasting, attempts, unacknowledged }
    CloseReport { accepted, written, lost, overwritten, unresolved, refused, files, files_bytes, unacknowledged }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};

    use super::*;

    #[test]
    fn times_are_seconds_errors_are_texts_and_paths_are_shown() {
        use bufferedwriter_testkit::os::OsStringExt;
        let odd = std::ffi::OsString::from_vec(vec![b'/', 0xff]);
        let error = Error::io("write", "/file".as_ref(), std::io::ErrorKind::StorageFull.into());
        let worker = WorkerStats {
            codec_time: Duration::from_millis(1500),
            temp_file: Some(odd.into()),
            last_error: Some(error.clone()),
            ..WorkerStats::default()
        };
        let shown = to_value(&worker).unwrap();
        assert_eq!(shown["codec_time"], json!(1.5));
        assert_eq!(shown["temp_file"], json!("/\u{fffd}"));
        assert_eq!(shown["last_error"], json!(error.to_string()));
        let guard = GuardStats { measured_at: Some(Instant::now()), ..GuardStats::default() };
        let shown = to_value(&guard).unwrap();
        assert!(shown["measured_at"].as_f64().is_some_and(|ago| ago >= 0.0));
        assert_eq!(shown["free_bytes"], Value::Null);
    }

    #[test]
    fn all_that_a_writer_tells_is_a_table() {
        let lost = Lost { gave_up: Count::new(1, 10), ..Lost::default() };
        let report = CloseReport { lost, files: 3, ..CloseReport::default() };
        let shown = to_value(report).unwrap();
        assert_eq!(shown["lost"]["gave_up"], json!({ "records": 1, "bytes": 10 }));
        assert_eq!(shown["files"], json!(3));
        let stats = Stats { workers: vec![WorkerStats::default()], ..Stats::default() };
        let shown = to_value(&stats).unwrap();
        assert_eq!(shown["workers"][0]["backlog_chunks"], json!(0));
        assert_eq!(shown["disk_guard"], Value::Null);
        assert_eq!(to_value(Health::default()).unwrap()["stalls"], json!([]));
    }
}
