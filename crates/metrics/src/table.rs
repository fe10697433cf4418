//! The table of all metrics: names, units, meanings, and where each comes from.
//!
//! Guarantees: each number of `Stats` and `Health` has a metric. Units are bytes, seconds or plain numbers, and
//! the names end with them. Names and labels never depend on data, but for the number of a worker.

use std::time::Duration;

use bufferedwriter::{Health, Stats};
use metrics::Unit;

use crate::reading::{Reading, count, level, lost, missing, refused, stalls, workers};

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, and starts at 0 with each writer.
    Counter,
    /// It goes up and down. What is true or false is 1 or 0.
    Gauge,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name: letters and `_`, as Prometheus likes them.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it counts or measures.
    pub unit: Unit,
    /// The label that tells its values apart: `cause`, `worker`, `what`. Empty for a single value.
    pub label: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    read: fn(&Stats, &Health) -> Vec<Reading>,
}

impl Metric {
    /// Its values in these snapshots. None if the writer has no such thing: no disk guard, no retention.
    ///
    /// For exporters without the facade of the crate metrics.
    #[must_use]
    pub fn read(&self, stats: &Stats, health: &Health) -> Vec<Reading> {
        (self.read)(stats, health)
    }
}

type Read = fn(&Stats, &Health) -> Vec<Reading>;

const fn counter(name: &'static str, unit: Unit, help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Counter, unit, label: "", help, read }
}

const fn gauge(name: &'static str, unit: Unit, help: &'static str, read: Read) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, label: "", help, read }
}

const fn by(label: &'static str, metric: Metric) -> Metric {
    Metric { label, ..metric }
}

/// All metrics, in the order of the guide.
pub static METRICS: &[Metric] = &[
    counter(
        "bufferedwriter_accepted_records_total",
        Unit::Count,
        "Records that the writer accepted",
        |stats, _| count(stats.accepted.records),
    ),
    counter(
        "bufferedwriter_accepted_bytes_total",
        Unit::Bytes,
        "Bytes of the records that the writer accepted",
        |stats, _| count(stats.accepted.bytes),
    ),
    counter(
        "bufferedwriter_written_records_total",
        Unit::Count,
        "Records in files that became visible",
        |stats, _| count(stats.written.records),
    ),
    counter(
        "bufferedwriter_written_bytes_total",
        Unit::Bytes,
        "Bytes of the records in files that became visible",
        |stats, _| count(stats.written.bytes),
    ),
    by(
        "cause",
        counter(
            "bufferedwriter_refused_records_total",
            Unit::Count,
            "Records that the writer did not accept",
            |stats, _| refused(stats, |count| count.records),
        ),
    ),
    by(
        "cause",
        counter(
            "bufferedwriter_refused_bytes_total",
            Unit::Bytes,
            "Bytes of the records that the writer did not accept",
            |stats, _| refused(stats, |count| count.bytes),
        ),
    ),
    by(
        "cause",
        counter(
            "bufferedwriter_lost_records_total",
            Unit::Count,
            "Records that were accepted and will never be in a visible file",
            |stats, _| lost(stats, |count| count.records),
        ),
    ),
    by(
        "cause",
        counter(
            "bufferedwriter_lost_bytes_total",
            Unit::Bytes,
            "Bytes of the records that were accepted and will never be in a visible file",
            |stats, _| lost(stats, |count| count.bytes),
        ),
    ),
    counter(
        "bufferedwriter_overwritten_records_total",
        Unit::Count,
        "Records that a flight recorder wrote over, or forgot when it was closed",
        |stats, _| count(stats.overwritten.records),
    ),
    counter(
        "bufferedwriter_overwritten_bytes_total",
        Unit::Bytes,
        "Bytes of the records that a flight recorder wrote over, or forgot when it was closed",
        |stats, _| count(stats.overwritten.bytes),
    ),
    counter("bufferedwriter_files_total", Unit::Count, "Files that became visible", |stats, _| {
        count(stats.files)
    }),
    counter(
        "bufferedwriter_files_bytes_total",
        Unit::Bytes,
        "Bytes on the disk of the files that became visible",
        |stats, _| count(stats.files_bytes),
    ),
    gauge(
        "bufferedwriter_pending_records",
        Unit::Count,
        "Records in memory or in temp files, neither written nor lost yet",
        |stats, _| level(stats.pending.records),
    ),
    gauge(
        "bufferedwriter_pending_bytes",
        Unit::Bytes,
        "Bytes of the records in memory or in temp files",
        |stats, _| level(stats.pending.bytes),
    ),
    gauge("bufferedwriter_memory_bytes", Unit::Bytes, "Bytes of the chunks in use", |stats, _| {
        level(stats.memory_bytes)
    }),
    gauge(
        "bufferedwriter_memory_bound_bytes",
        Unit::Bytes,
        "Upper bound of the writer's memory",
        |stats, _| level(stats.memory_bound_bytes),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_backlog_chunks",
            Unit::Count,
            "Chunks that wait for the worker or for its sync",
            |stats, _| workers(stats, |worker| worker.backlog_chunks),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_temp_file",
            Unit::Count,
            "Whether the worker has a temp file",
            |stats, _| workers(stats, |worker| worker.temp_file.is_some()),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_temp_file_bytes",
            Unit::Bytes,
            "Length of the worker's temp file",
            |stats, _| workers(stats, |worker| worker.temp_file_bytes),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_temp_file_direct",
            Unit::Count,
            "Whether writes to the worker's temp file bypass the page cache",
            |stats, _| workers(stats, |worker| worker.temp_file_is_direct),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_codec_seconds",
            Unit::Seconds,
            "Time for which the worker has compressed, in all; its rate is a share of a processor",
            |stats, _| workers(stats, |worker| worker.codec_time),
        ),
    ),
    gauge(
        "bufferedwriter_healthy",
        Unit::Count,
        "Whether nothing is held up: no worker, no manifest, no hook",
        |_, health| level(health.is_ok()),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_stalled",
            Unit::Count,
            "Whether an error or a hung call holds the worker up",
            |stats, health| stalls(stats, health, |_| true),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_stall_seconds",
            Unit::Seconds,
            "Time for which the worker has been held up",
            |stats, health| stalls(stats, health, |stall| stall.lasting),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_stall_attempts",
            Unit::Count,
            "Failures since the worker has been held up",
            |stats, health| stalls(stats, health, |stall| stall.attempts),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_stall_chunks",
            Unit::Count,
            "Chunks that the worker holds back while it is held up",
            |stats, health| stalls(stats, health, |stall| stall.held_chunks),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_stall_file_records",
            Unit::Count,
            "Records in the temp file of a worker that is held up",
            |stats, health| stalls(stats, health, |stall| stall.held_in_file.records),
        ),
    ),
    by(
        "worker",
        gauge(
            "bufferedwriter_worker_stall_file_bytes",
            Unit::Bytes,
            "Bytes of the records in the temp file of a worker that is held up",
            |stats, health| stalls(stats, health, |stall| stall.held_in_file.bytes),
        ),
    ),
    gauge(
        "bufferedwriter_disk_guard_refuses",
        Unit::Count,
        "Whether the disk guard refuses records now",
        |stats, _| stats.disk_guard.as_ref().map_or(vec![], |guard| level(guard.refuses)),
    ),
    gauge(
        "bufferedwriter_disk_guard_free_bytes",
        Unit::Bytes,
        "Free bytes of the file system, if min_free is set",
        |stats, _| {
            let free = stats.disk_guard.as_ref().and_then(|guard| guard.free_bytes);
            free.map_or(vec![], level)
        },
    ),
    gauge(
        "bufferedwriter_disk_guard_total_bytes",
        Unit::Bytes,
        "Bytes that all files with the prefix take, if max_total is set",
        |stats, _| {
            let total = stats.disk_guard.as_ref().and_then(|guard| guard.total_bytes);
            total.map_or(vec![], level)
        },
    ),
    gauge(
        "bufferedwriter_disk_guard_age_seconds",
        Unit::Seconds,
        "Time since the disk guard has measured",
        |stats, _| {
            let measured = stats.disk_guard.as_ref().and_then(|guard| guard.measured_at);
            measured.map_or(vec![], |at| level(at.elapsed()))
        },
    ),
    gauge(
        "bufferedwriter_disk_guard_failing",
        Unit::Count,
        "Whether the last measurement of the disk guard failed",
        |stats, _| {
            let guard = stats.disk_guard.as_ref();
            guard.map_or(vec![], |guard| level(guard.last_error.is_some()))
        },
    ),
    counter(
        "bufferedwriter_listed_files_total",
        Unit::Count,
        "Files that are in the manifest, or noted for the hook",
        |stats, _| stats.publishing.map_or(vec![], |publishing| count(publishing.listed)),
    ),
    counter(
        "bufferedwriter_acknowledged_files_total",
        Unit::Count,
        "Files that the hook has acknowledged",
        |stats, _| stats.publishing.map_or(vec![], |publishing| count(publishing.acknowledged)),
    ),
    counter(
        "bufferedwriter_gone_files_total",
        Unit::Count,
        "Files for which the hook failed and that no longer existed",
        |stats, _| stats.publishing.map_or(vec![], |publishing| count(publishing.gone)),
    ),
    gauge(
        "bufferedwriter_unlisted_files",
        Unit::Count,
        "Files that became visible and are not in the manifest yet",
        |stats, _| stats.publishing.map_or(vec![], |publishing| level(publishing.unlisted)),
    ),
    gauge(
        "bufferedwriter_unacknowledged_files",
        Unit::Count,
        "Files that the hook has not acknowledged yet",
        |stats, _| stats.publishing.map_or(vec![], |publishing| level(publishing.unacknowledged)),
    ),
    gauge(
        "bufferedwriter_manifest_stalled",
        Unit::Count,
        "Whether the manifest can't be written",
        |_, health| level(health.manifest.is_some()),
    ),
    gauge(
        "bufferedwriter_manifest_stall_seconds",
        Unit::Seconds,
        "Time for which the manifest could not be written",
        |_, health| {
            level(health.manifest.as_ref().map_or(Duration::ZERO, |stall| stall.since.elapsed()))
        },
    ),
    gauge(
        "bufferedwriter_manifest_stall_attempts",
        Unit::Count,
        "Failures since the manifest could last be written",
        |_, health| level(health.manifest.as_ref().map_or(0, |stall| stall.attempts)),
    ),
    gauge(
        "bufferedwriter_hook_stalled",
        Unit::Count,
        "Whether the hook fails or has not returned for a second",
        |_, health| level(health.hook.is_some()),
    ),
    gauge(
        "bufferedwriter_hook_stall_seconds",
        Unit::Seconds,
        "Time since the hook was first called for the file that it does not acknowledge",
        |_, health| level(health.hook.as_ref().map_or(Duration::ZERO, |stall| stall.lasting)),
    ),
    gauge(
        "bufferedwriter_hook_stall_attempts",
        Unit::Count,
        "Failed calls of the hook for that file",
        |_, health| level(health.hook.as_ref().map_or(0, |stall| stall.attempts)),
    ),
    counter(
        "bufferedwriter_deleted_files_total",
        Unit::Count,
        "Old files that the writer deleted",
        |stats, _| stats.retention.as_ref().map_or(vec![], |kept| count(kept.files_deleted)),
    ),
    counter(
        "bufferedwriter_deleted_bytes_total",
        Unit::Bytes,
        "Bytes that the deleted files took on the disk",
        |stats, _| stats.retention.as_ref().map_or(vec![], |kept| count(kept.bytes_deleted)),
    ),
    gauge(
        "bufferedwriter_retention_held",
        Unit::Count,
        "Whether old files stay because one of them waits for a hook",
        |stats, _| stats.retention.as_ref().map_or(vec![], |kept| level(kept.held_by.is_some())),
    ),
    gauge(
        "bufferedwriter_retention_failing",
        Unit::Count,
        "Whether the last look for old files met an error",
        |stats, _| stats.retention.as_ref().map_or(vec![], |kept| level(kept.last_error.is_some())),
    ),
    gauge(
        "bufferedwriter_latest_failing",
        Unit::Count,
        "Whether the link to the newest file can't be set",
        |stats, _| level(stats.latest_error.is_some()),
    ),
    by(
        "what",
        gauge(
            "bufferedwriter_missing",
            Unit::Count,
            "Whether the file system lacks locks or permissions",
            |stats, _| missing(stats),
        ),
    ),
];
