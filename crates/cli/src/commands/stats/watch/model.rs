//! One writer as the view shows it.

use std::time::{Duration, SystemTime};

use bufferedwriter::{Count, InstanceStats, PublishStats, Refresh};

use crate::commands::stats::text;
use crate::commands::stats::watch::rates::Rates;
use crate::console::printable;

#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) is_alive: bool,
    pub(super) path: String,
    /// `None` if it tells nothing.
    pub(super) counted: Option<Counted>,
}

/// What it told last.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// From its start to its last refresh, and from there until now.
    pub(super) uptime: Duration,
    pub(super) age: Duration,
    pub(super) accepted: Count,
    pub(super) written: Count,
    pub(super) pending: Count,
    pub(super) lost: Count,
    pub(super) refused: Count,
    /// `None` until they are known.
    pub(super) rates: Option<Rates>,
    pub(super) files: u64,
    pub(super) files_bytes: u64,
    pub(super) memory_bytes: usize,
    pub(super) memory_bound_bytes: usize,
    pub(super) publishing: Option<PublishStats>,
    pub(super) workers: Vec<Worker>,
    pub(super) errors: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Worker {
    pub(super) backlog_chunks: usize,
    pub(super) temp_file_bytes: u64,
    pub(super) is_held_up: bool,
}

impl Writer {
    pub(super) fn new(it: &InstanceStats, rates: Option<Rates>, now: SystemTime) -> Self {
        let counted = |told: &Refresh| {
            let stats = &told.stats;
            let is_held_up = |worker| told.health.stalls.iter().any(|it| it.worker == worker);
            let worker = |(nth, it): (usize, &bufferedwriter::WorkerStats)| Worker {
                backlog_chunks: it.backlog_chunks,
                temp_file_bytes: it.temp_file_bytes,
                is_held_up: is_held_up(nth),
            };
            Counted {
                uptime: text::since(told.started, told.refreshed),
                age: text::since(told.refreshed, now),
                accepted: stats.accepted,
                written: stats.written,
                pending: stats.pending,
                lost: stats.lost.total(),
                refused: stats.refused.total(),
                rates,
                files: stats.files,
                files_bytes: stats.files_bytes,
                memory_bytes: stats.memory_bytes,
                memory_bound_bytes: stats.memory_bound_bytes,
                publishing: stats.publishing,
                workers: stats.workers.iter().enumerate().map(worker).collect(),
                errors: text::errors(told),
            }
        };
        Writer {
            name: text::name(it),
            is_alive: it.is_alive,
            path: printable(&it.path.to_string_lossy()),
            counted: it.last_refresh.as_ref().map(counted),
        }
    }
}
