//! The summary of a run, for people and for machines.
//!
//! Guarantees: `read == written + refused + lost + overwritten + unresolved`, in records and in bytes. Added
//! newlines count.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::{CloseReport, Count, Lost};
use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::exit;

/// From this share of a worker's time on, people are told that it compressed.
const BOTTLENECK: f64 = 0.8;

/// The counts of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Lines that were read to their end.
    pub(crate) read: Count,
    /// Lines in visible files.
    pub(crate) written: Count,
    /// Lines that were too long, were dropped while memory or the disk was full, or were read but
    /// not accepted when time was over.
    pub(crate) refused: Count,
    /// The part of `refused` that is due to `--min-free` or `--max-total`.
    pub(crate) refused_by_guard: Count,
    /// Lines that were accepted but lost, by cause: given up, or not in a visible file when time
    /// was over.
    pub(crate) lost: Lost,
    /// Lines that `--recorder` wrote over, or forgot at the end.
    pub(crate) overwritten: Count,
    /// Lines in files whose rename had not returned when time was over.
    pub(crate) unresolved: Count,
    /// Files published.
    pub(crate) files: u64,
    /// Their bytes on the disk.
    pub(crate) files_bytes: u64,
    /// Old files that were deleted, and their bytes on the disk. `None` unless old files are.
    pub(crate) deleted: Option<(u64, u64)>,
    /// How long the workers compressed, in all, and the one that did so longest. `None` without
    /// compression.
    pub(crate) codec_times: Option<(Duration, Duration)>,
    /// Files that are not in the manifest, or without a successful `--on-publish`.
    pub(crate) unacknowledged: u64,
    /// Where the files are.
    pub(crate) path: PathBuf,
    /// Errors on inputs and on closing. All were reported.
    pub(crate) io_errors: u64,
    /// The signal that ended the reading.
    pub(crate) stopped_by: Option<&'static str>,
    /// From the start to the last file.
    pub(crate) elapsed: Duration,
}

impl Summary {
    /// Takes over the writer's final counts, except what it refused: a line that waited for memory
    /// was refused many times before it was accepted.
    pub(crate) fn settle(&mut self, report: &CloseReport) {
        self.written = report.written;
        self.lost = report.lost;
        self.overwritten = report.overwritten;
        self.unresolved = report.unresolved;
        self.files = report.files;
        self.files_bytes = report.files_bytes;
        self.unacknowledged = report.unacknowledged;
    }

    /// The exit code: missing lines take precedence over an input that could not be read.
    pub(crate) fn exit_code(&self) -> u8 {
        if [self.refused, self.lost.total(), self.unresolved].iter().any(|count| count.records > 0)
        {
            exit::RECORDS_MISSING
        } else if self.io_errors > 0 {
            exit::IO
        } else {
            exit::WRITTEN
        }
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        let count = |count: Count| json!({ "records": count.records, "bytes": count.bytes });
        json!({
            "read": count(self.read),
            "written": count(self.written),
            "refused": count(self.refused),
            "refused_by_disk_guard": count(self.refused_by_guard),
            "lost": count(self.lost.total()),
            "lost_by_cause": {
                "shutdown": count(self.lost.shutdown),
                "temp_file_removed": count(self.lost.temp_file_removed),
                "temp_file_damaged": count(self.lost.temp_file_damaged),
                "gave_up": count(self.lost.gave_up),
            },
            "overwritten": count(self.overwritten),
            "unresolved": count(self.unresolved),
            "path": self.path.to_string_lossy(),
            "files": self.files,
            "files_bytes": self.files_bytes,
            "files_deleted": self.deleted.map(|(files, _)| files),
            "bytes_deleted": self.deleted.map(|(_, bytes)| bytes),
            "codec_seconds": self.codec_times.map(|(all, _)| all.as_secs_f64()),
            "codec_share": self.codec_share(),
            "unacknowledged": self.unacknowledged,
            "io_errors": self.io_errors,
            "stopped_by": self.stopped_by,
            "seconds": self.elapsed.as_secs_f64(),
            "mb_per_second": self.mb_per_second(),
            "exit_code": self.exit_code(),
        })
    }

    /// The greatest share of its time that a worker compressed.
    fn codec_share(&self) -> Option<f64> {
        let share = |time: Duration| time.as_secs_f64() / self.elapsed.as_secs_f64();
        self.codec_times.filter(|_| !self.elapsed.is_zero()).map(|(_, longest)| share(longest))
    }

    /// Written bytes per second, in units of 10^6 bytes.
    fn mb_per_second(&self) -> f64 {
        self.written.bytes as f64 / 1e6 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// For people.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = self.refused_by_guard.records;
        let guard = if guard > 0 { format!(" ({guard} by the disk guard)") } else { String::new() };
        let files = if self.files == 1 { "file" } else { "files" };
        let on_disk = match self.files_bytes {
            // Files hold the records as they are.
            bytes if bytes == self.written.bytes => String::new(),
            bytes => format!(" ({} on the disk)", ByteSize(bytes).display().si()),
        };
        write!(
            f,
            "{} records, {} in {} {files}{on_disk} in {}; refused {}{guard}, lost {}; {:.3} s, {:.1} MB/s",
            self.written.records,
            ByteSize(self.written.bytes).display().si(),
            self.files,
            self.path.display(),
            self.refused.records,
            self.lost.total().records,
            self.elapsed.as_secs_f64(),
            self.mb_per_second(),
        )?;
        if self.overwritten.records > 0 {
            write!(f, "; overwritten {}", self.overwritten.records)?;
        }
        if self.unresolved.records > 0 {
            write!(f, "; unresolved {}", self.unresolved.records)?;
        }
        if let Some((files, bytes)) = self.deleted.filter(|&(files, _)| files > 0) {
            let bytes = ByteSize(bytes).display().si();
            write!(f, "; old files deleted: {files}, {bytes}")?;
        }
        if let Some(share) = self.codec_share().filter(|&share| share >= BOTTLENECK) {
            let percent = share * 100.0;
            write!(f, "; a worker compressed for {percent:.0} % of the time")?;
        }
        match self.stopped_by {
            Some(signal) => write!(f, "; stopped by {signal}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Count = Count { records: 1, bytes: 10 };

    fn written() -> Summary {
        let path = PathBuf::from("/out");
        Summary { read: ONE, written: ONE, files: 1, files_bytes: 10, path, ..Summary::default() }
    }

    fn gave_up() -> Lost {
        let mut lost = Lost::default();
        lost.gave_up = ONE;
        lost
    }

    #[test]
    fn missing_records_outrank_io_errors() {
        assert_eq!(written().exit_code(), exit::WRITTEN);
        let stopped = Summary { stopped_by: Some("SIGTERM"), ..written() };
        assert_eq!(stopped.exit_code(), exit::WRITTEN);
        let failed = Summary { io_errors: 1, ..written() };
        assert_eq!(failed.exit_code(), exit::IO);
        for missing in [
            Summary { refused: ONE, ..failed.clone() },
            Summary { lost: gave_up(), ..failed.clone() },
            Summary { unresolved: ONE, ..failed.clone() },
        ] {
            assert_eq!(missing.exit_code(), exit::RECORDS_MISSING, "{missing:?}");
        }
    }

    #[test]
    fn people_read_one_line() {
        let text = Summary { elapsed: Duration::from_millis(500), ..written() }.to_string();
        assert_eq!(text, "1 records, 10 B in 1 file in /out; refused 0, lost 0; 0.500 s, 0.0 MB/s");
        let text = Summary { files_bytes: 4, ..written() }.to_string();
        assert!(text.contains("10 B in 1 file (4 B on the disk) in /out; refused 0"), "{text}");
        let text = Summary { deleted: Some((0, 0)), ..written() }.to_string();
        assert!(text.ends_with("MB/s"), "{text}");
        let text = Summary { deleted: Some((3, 12_288)), ..written() }.to_string();
        assert!(text.ends_with("; old files deleted: 3, 12.3 kB"), "{text}");
        let compressed = |longest| Summary {
            codec_times: Some((Duration::from_secs(12), Duration::from_secs(longest))),
            elapsed: Duration::from_secs(10),
            ..written()
        };
        assert!(compressed(7).to_string().ends_with("MB/s"));
        let text = compressed(9).to_string();
        assert!(text.ends_with("; a worker compressed for 90 % of the time"), "{text}");
        let text = Summary { refused: ONE, refused_by_guard: ONE, ..written() }.to_string();
        assert!(text.contains("refused 1 (1 by the disk guard), lost 0;"), "{text}");
    }

    #[test]
    fn the_causes_of_a_loss_add_up() {
        let mut lost = Lost::default();
        let causes = [
            &mut lost.shutdown,
            &mut lost.temp_file_removed,
            &mut lost.temp_file_damaged,
            &mut lost.gave_up,
        ];
        for (cause, records) in causes.into_iter().zip([1, 10, 100, 1000]) {
            cause.records = records;
        }
        let json = Summary { lost, ..written() }.json();
        let told = json["lost_by_cause"].as_object().unwrap().values();
        let told: u64 = told.map(|cause| cause["records"].as_u64().unwrap()).sum();
        assert_eq!((told, json["lost"]["records"].as_u64()), (1111, Some(1111)));
    }

    #[test]
    fn machines_read_every_count() {
        let json = written().json();
        assert_eq!(json["read"], json!({ "records": 1, "bytes": 10 }));
        assert_eq!(json["stopped_by"], Value::Null);
        assert_eq!((&json["files_deleted"], &json["codec_share"]), (&Value::Null, &Value::Null));
        let times = Some((Duration::from_secs(3), Duration::from_secs(2)));
        let elapsed = Duration::from_secs(4);
        let slow = Summary { codec_times: times, elapsed, ..written() }.json();
        assert_eq!((&slow["codec_seconds"], &slow["codec_share"]), (&json!(3.0), &json!(0.5)));
        let deleted = Summary { deleted: Some((2, 8192)), ..written() }.json();
        assert_eq!(
            (&deleted["files_deleted"], &deleted["bytes_deleted"]),
            (&json!(2), &json!(8192))
        );
        assert_eq!(json["exit_code"], 0);
        let json = Summary { lost: gave_up(), ..written() }.json();
        assert_eq!(json["lost"], json["lost_by_cause"]["gave_up"]);
        assert_eq!((&json["lost"]["bytes"], &json["exit_code"]), (&json!(10), &json!(3)));
    }
}
