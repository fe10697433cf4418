//! Writers as one JSON object.

use bufferedwriter::{Count, Health, InstanceStats, Refresh, Stats};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::commands::stats::id::id;

/// All these writers. Sizes are bytes, times RFC 3339 or seconds.
pub(super) fn object(found: &[InstanceStats]) -> Value {
    json!({ "writers": found.iter().map(writer).collect::<Vec<_>>() })
}

fn writer(it: &InstanceStats) -> Value {
    json!({
        "writer": id(it),
        "alive": it.is_alive,
        "pid": it.pid,
        "prefix": it.prefix.to_string_lossy(),
        "extension": it.extension.to_string_lossy(),
        "path": it.path.to_string_lossy(),
        "state_file": it.state_file.to_string_lossy(),
        "last_refresh": it.last_refresh.as_ref().map(told),
    })
}

fn told(told: &Refresh) -> Value {
    let Refresh { started, refreshed, stats, health, .. } = told;
    let time = |time| Timestamp::try_from(time).map(|time| format!("{time:.3}")).ok();
    let guard = stats.disk_guard.as_ref().map(|guard| {
        json!({
            "refuses": guard.refuses,
            "free_bytes": guard.free_bytes,
            "total_bytes": guard.total_bytes,
            "error": guard.last_error.as_ref().map(ToString::to_string),
        })
    });
    let publishing = stats.publishing.map(|told| {
        json!({
            "listed": told.listed,
            "unlisted": told.unlisted,
            "acknowledged": told.acknowledged,
            "gone": told.gone,
            "unacknowledged": told.unacknowledged,
        })
    });
    let retention = stats.retention.as_ref().map(|kept| {
        json!({
            "files_deleted": kept.files_deleted,
            "bytes_deleted": kept.bytes_deleted,
            "held_by": kept.held_by.as_ref().map(|path| path.to_string_lossy()),
            "error": kept.last_error.as_ref().map(ToString::to_string),
        })
    });
    json!({
        "started": time(*started),
        "refreshed": time(*refreshed),
        "accepted": count(stats.accepted),
        "written": count(stats.written),
        "pending": count(stats.pending),
        "lost": lost(stats),
        "overwritten": count(stats.overwritten),
        "refused": refused(stats),
        "files": stats.files,
        "files_bytes": stats.files_bytes,
        "memory_bytes": stats.memory_bytes,
        "memory_bound_bytes": stats.memory_bound_bytes,
        "backlog_chunks": stats.workers.iter().map(|worker| worker.backlog_chunks).sum::<usize>(),
        "workers": stats.workers.iter().map(|worker| json!({
            "backlog_chunks": worker.backlog_chunks,
            "temp_file_bytes": worker.temp_file_bytes,
            "temp_file": worker.temp_file.as_ref().map(|path| path.to_string_lossy()),
            "codec_seconds": worker.codec_time.as_secs_f64(),
        })).collect::<Vec<_>>(),
        "disk_guard": guard,
        "publishing": publishing,
        "retention": retention,
        "latest_error": stats.latest_error.as_ref().map(ToString::to_string),
        "healthy": health.is_ok(),
        "stalls": stalls(health),
        "manifest": health.manifest.as_ref().map(ToString::to_string),
        "hook": health.hook.as_ref().map(ToString::to_string),
    })
}

fn count(count: Count) -> Value {
    json!({ "records": count.records, "bytes": count.bytes })
}

fn lost(stats: &Stats) -> Value {
    let lost = &stats.lost;
    json!({
        "records": lost.total().records,
        "bytes": lost.total().bytes,
        "shutdown": count(lost.shutdown),
        "temp_file_removed": count(lost.temp_file_removed),
        "temp_file_damaged": count(lost.temp_file_damaged),
        "gave_up": count(lost.gave_up),
    })
}

fn refused(stats: &Stats) -> Value {
    let refused = &stats.refused;
    json!({
        "records": refused.total().records,
        "bytes": refused.total().bytes,
        "full": count(refused.full),
        "too_large": count(refused.too_large),
        "closed": count(refused.closed),
        "disk_guard": count(refused.disk_guard),
        "format": count(refused.format),
        "out_of_memory": count(refused.out_of_memory),
    })
}

fn stalls(health: &Health) -> Vec<Value> {
    let stall = |stall: &bufferedwriter::Stall| {
        json!({
            "worker": stall.worker,
            "error": stall.error.to_string(),
            "seconds": stall.lasting.as_secs_f64(),
            "attempts": stall.attempts,
            "held_chunks": stall.held_chunks,
            "held_in_file": count(stall.held_in_file),
        })
    };
    health.stalls.iter().map(stall).collect()
}
