//! From the fields of `Stats` and `Health` to the values of metrics.

use std::time::Duration;

use bufferedwriter::{Count, Health, Stall, Stats, WorkerStats};

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reading {
    /// The value of the label, if the metric has one.
    pub label: Option<String>,
    /// The value.
    pub value: Value,
}

/// A number: whole for counters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of a [`Kind::Counter`](crate::Kind::Counter).
    Counter(u64),
    /// Of a [`Kind::Gauge`](crate::Kind::Gauge).
    Gauge(f64),
}

pub(crate) fn count(value: u64) -> Vec<Reading> {
    vec![Reading { label: None, value: Value::Counter(value) }]
}

pub(crate) fn level(value: impl Into<Level>) -> Vec<Reading> {
    vec![Reading { label: None, value: Value::Gauge(value.into().0) }]
}

/// What a gauge shows.
pub(crate) struct Level(f64);

impl From<bool> for Level {
    fn from(is: bool) -> Self {
        Level(f64::from(u8::from(is)))
    }
}

impl From<u64> for Level {
    fn from(number: u64) -> Self {
        Level(number as f64)
    }
}

impl From<usize> for Level {
    fn from(number: usize) -> Self {
        Level(number as f64)
    }
}

impl From<Duration> for Level {
    fn from(time: Duration) -> Self {
        Level(time.as_secs_f64())
    }
}

fn causes<const N: usize>(
    causes: [(&'static str, Count); N],
    of: impl Fn(&Count) -> u64,
) -> Vec<Reading> {
    let reading = |(cause, count): &(&str, Count)| Reading {
        label: Some((*cause).to_owned()),
        value: Value::Counter(of(count)),
    };
    causes.iter().map(reading).collect()
}

pub(crate) fn lost(stats: &Stats, of: impl Fn(&Count) -> u64) -> Vec<Reading> {
    let lost = &stats.lost;
    let by_cause = [
        ("shutdown", lost.shutdown),
        ("temp_file_removed", lost.temp_file_removed),
        ("temp_file_damaged", lost.temp_file_damaged),
        ("gave_up", lost.gave_up),
    ];
    causes(by_cause, of)
}

pub(crate) fn refused(stats: &Stats, of: impl Fn(&Count) -> u64) -> Vec<Reading> {
    let refused = &stats.refused;
    let by_cause = [
        ("full", refused.full),
        ("too_large", refused.too_large),
        ("closed", refused.closed),
        ("disk_guard", refused.disk_guard),
        ("format", refused.format),
        ("out_of_memory", refused.out_of_memory),
    ];
    causes(by_cause, of)
}

pub(crate) fn workers<L: Into<Level>>(
    stats: &Stats,
    of: impl Fn(&WorkerStats) -> L,
) -> Vec<Reading> {
    let reading = |(worker, stats): (usize, &WorkerStats)| Reading {
        label: Some(worker.to_string()),
        value: Value::Gauge(of(stats).into().0),
    };
    stats.workers.iter().enumerate().map(reading).collect()
}

/// 0 for a worker that is not held up, so that an old value does not stay.
pub(crate) fn stalls<L: Into<Level>>(
    stats: &Stats,
    health: &Health,
    of: impl Fn(&Stall) -> L,
) -> Vec<Reading> {
    let reading = |worker: usize| {
        let stall = health.stalls.iter().find(|stall| stall.worker == worker);
        let level = stall.map_or(0.0, |stall| of(stall).into().0);
        Reading { label: Some(worker.to_string()), value: Value::Gauge(level) }
    };
    (0..stats.workers.len()).map(reading).collect()
}

pub(crate) fn missing(stats: &Stats) -> Vec<Reading> {
    let reading = |(what, is): (&str, bool)| Reading {
        label: Some(what.to_owned()),
        value: Value::Gauge(Level::from(is).0),
    };
    let missing = [("locks", stats.missing.locks), ("permissions", stats.missing.permissions)];
    missing.map(reading).into()
}
