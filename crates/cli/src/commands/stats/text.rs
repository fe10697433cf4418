//! Writers as text for people.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use bufferedwriter::{Count, InstanceStats, Refresh};
use bytesize::ByteSize;
use jiff::SignedDuration;

use crate::commands::stats::id::id;
use crate::console::printable;

/// All these writers, a paragraph each.
pub(super) fn of(found: &[InstanceStats]) -> String {
    let paragraphs: Vec<String> = found.iter().map(paragraph).collect();
    paragraphs.join("\n")
}

fn paragraph(it: &InstanceStats) -> String {
    let life = if it.is_alive { "alive" } else { "dead" };
    let path = printable(&it.path.to_string_lossy());
    let mut text = format!("{} ({life}), files in {path}\n", name(it));
    // Writing to a string can't fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<11} {value}");
    };
    let Some(told) = &it.last_refresh else {
        line("", "tells nothing: it is of an older version, or its file is damaged".to_owned());
        return text;
    };
    let stats = &told.stats;
    let now = SystemTime::now();
    // A living one has counted nothing since its last refresh.
    let uptime = since(told.started, if it.is_alive { now } else { told.refreshed });
    let rate = stats.accepted.bytes as f64 / uptime.as_secs_f64().max(1.0);
    let rate = ByteSize(rate as u64).display().si();
    line(
        "accepted",
        format!("{}; {rate}/s in {} since the start", count(stats.accepted), short(uptime)),
    );
    let on_disk = ByteSize(stats.files_bytes).display().si();
    line(
        "written",
        format!("{} in {} files, {on_disk} on the disk", count(stats.written), stats.files),
    );
    line("pending", count(stats.pending));
    line("lost", count(stats.lost.total()));
    if !stats.overwritten.is_zero() {
        line("overwritten", count(stats.overwritten));
    }
    line("refused", count(stats.refused.total()));
    let backlog: usize = stats.workers.iter().map(|worker| worker.backlog_chunks).sum();
    let [used, bound] =
        [stats.memory_bytes, stats.memory_bound_bytes].map(|n| ByteSize(n as u64).display().si());
    line("backlog", format!("{backlog} chunks; {used} of {bound} memory in use"));
    line("refreshed", format!("{} ago", short(since(told.refreshed, now))));
    for error in errors(told) {
        line("error", error);
    }
    text
}

/// Prefix and id.
pub(super) fn name(it: &InstanceStats) -> String {
    format!("{}{}", printable(&it.prefix.to_string_lossy()), id(it))
}

/// All that is wrong.
pub(super) fn errors(told: &Refresh) -> Vec<String> {
    let Refresh { stats, health, .. } = told;
    let mut errors: Vec<String> = health.stalls.iter().map(ToString::to_string).collect();
    errors.extend(health.manifest.as_ref().map(|stall| format!("listing files: {stall}")));
    errors.extend(health.hook.as_ref().map(ToString::to_string));
    let guard = stats.disk_guard.as_ref();
    errors
        .extend(guard.filter(|it| it.refuses).map(|_| "the disk guard refuses records".to_owned()));
    let failed = guard.and_then(|it| it.last_error.as_ref());
    errors.extend(failed.map(|error| format!("disk guard: {error}")));
    let kept = stats.retention.as_ref();
    let failed = kept.and_then(|it| it.last_error.as_ref());
    errors.extend(failed.map(|error| format!("old files: {error}")));
    let held = kept.and_then(|it| it.held_by.as_ref());
    errors.extend(held.map(|journal| format!("old files wait for a hook: {}", journal.display())));
    errors.extend(stats.latest_error.as_ref().map(|error| format!("latest: {error}")));
    errors.iter().map(|error| printable(error)).collect()
}

pub(super) fn count(count: Count) -> String {
    format!("{} records, {}", count.records, ByteSize(count.bytes).display().si())
}

/// 0 if a clock was set.
pub(super) fn since(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// Tenths of a second below a minute, and full seconds.
pub(super) fn short(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        return format!("{:.1}s", time.as_secs_f64());
    }
    format!("{:#}", SignedDuration::from_secs(time.as_secs() as i64))
}
