//! From a writer's snapshots to the recorder that the program has installed.
//!
//! Guarantees: holds no writer, so none stays open. Adds to counters, so they go on where another writer, with a
//! sampler of its own, takes over.

use std::collections::HashMap;

use bufferedwriter::{BufferedWriter, Health, Stats};
use metrics::{Label, SharedString, counter, gauge};

use crate::reading::{Reading, Value};
use crate::table::{Kind, METRICS, Metric};

/// Reads writers, and reports what it read as [`METRICS`].
///
/// Each writer needs a sampler of its own, with a [`label`](Self::label) that tells the writers apart. A writer that
/// takes the place of another one gets a new sampler with the same label: the counters go on.
#[derive(Debug, Default)]
#[must_use]
pub struct Sampler {
    labels: Vec<Label>,
    described: bool,
    /// What each counter showed last, by its name and the value of its label.
    last: HashMap<(&'static str, Option<String>), u64>,
}

impl Sampler {
    /// A sampler without labels of its own.
    pub fn new() -> Self {
        Sampler::default()
    }

    /// Adds a label to all metrics, such as `writer="access"`. A second value for a name replaces the first.
    ///
    /// Choose a name that no metric has as its [own](Metric::label). A metric that has it, such as those by `worker`,
    /// keeps its own value and goes without this one.
    pub fn label(mut self, name: impl Into<SharedString>, value: impl Into<SharedString>) -> Self {
        let label = Label::new(name, value);
        self.labels.retain(|other| other.key() != label.key());
        self.labels.push(label);
        self
    }

    /// Reports what the writer shows now. The first call also describes all metrics.
    ///
    /// It takes some microseconds, and holds up neither writes nor workers. Counters get what was added since the
    /// last call, so install the recorder before the first one.
    ///
    /// After [`close`](BufferedWriter::close), a last call reports the final counts.
    pub fn sample(&mut self, writer: &BufferedWriter) {
        self.report(&writer.stats(), &writer.health());
    }

    /// As [`sample`](Self::sample), of snapshots that you have.
    pub fn report(&mut self, stats: &Stats, health: &Health) {
        if !self.described {
            METRICS.iter().for_each(describe);
            self.described = true;
        }
        for metric in METRICS {
            for reading in metric.read(stats, health) {
                self.set(metric, reading);
            }
        }
    }

    fn set(&mut self, metric: &Metric, reading: Reading) {
        let mut labels = self.labels.clone();
        if let Some(value) = &reading.label {
            // Each name once, whatever a recorder makes of two.
            labels.retain(|label| label.key() != metric.label);
            labels.push(Label::new(metric.label, value.clone()));
        }
        match reading.value {
            Value::Gauge(level) => gauge!(metric.name, labels).set(level),
            Value::Counter(count) => {
                let last = self.last.entry((metric.name, reading.label)).or_default();
                let added = count.saturating_sub(*last);
                *last = count;
                // Also of nothing, so that it is there from the start.
                counter!(metric.name, labels).increment(added);
            }
        }
    }
}

fn describe(metric: &Metric) {
    match metric.kind {
        Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
        Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
    }
}
