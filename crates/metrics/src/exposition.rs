//! The text format of Prometheus, without a recorder: for a file that the node exporter's textfile collector reads, or
//! for an answer over HTTP.
//!
//! Guarantees: each metric has its HELP and TYPE once, before all its values. Values of labels are escaped, whatever
//! they hold. Refuses nothing.

use std::fmt::Write;

use bufferedwriter::{Health, Stats};

use crate::reading::Value;
use crate::table::{Kind, METRICS};

/// One writer's snapshots, and the labels that tell it from others.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Exposed {
    /// Names and values. Names are those of Prometheus (letters, digits, `_`) and not a metric's own, such as `worker`.
    pub labels: Vec<(String, String)>,
    /// From [`BufferedWriter::stats`](bufferedwriter::BufferedWriter::stats), or what another process told.
    pub stats: Stats,
    /// From [`BufferedWriter::health`](bufferedwriter::BufferedWriter::health), or what another process told.
    pub health: Health,
}

impl Exposed {
    /// A writer without labels.
    pub fn new(stats: Stats, health: Health) -> Self {
        Exposed { labels: Vec::new(), stats, health }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }
}

/// All [`METRICS`] of these writers in the text format of Prometheus, version 0.0.4. Its media type is
/// `text/plain; version=0.0.4`.
///
/// ```
/// use bufferedwriter::{BufferedWriter, Config};
/// use bufferedwriter_metrics::{Exposed, exposition};
///
/// # let dir = std::env::temp_dir().join(format!("bw-exposition-doc-{}", std::process::id()));
/// let files = BufferedWriter::new(Config::default().path(&dir).temp(&dir).create_dirs(true))?;
/// files.write(b"GET / 200\n")?;
/// let text = exposition(&[Exposed::new(files.stats(), files.health()).label("writer", "access")]);
/// assert!(text.contains("bufferedwriter_accepted_records_total{writer=\"access\"} 1\n"));
/// # files.close(std::time::Duration::from_secs(5))?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn exposition(writers: &[Exposed]) -> String {
    let mut text = String::new();
    for metric in METRICS {
        let mut is_first = true;
        for writer in writers {
            for reading in metric.read(&writer.stats, &writer.health) {
                if std::mem::take(&mut is_first) {
                    begin(&mut text, metric.name, metric.kind, metric.help);
                }
                let own = reading.label.as_deref().map(|value| (metric.label, value));
                let value = match reading.value {
                    Value::Counter(count) => count.to_string(),
                    Value::Gauge(level) => level.to_string(),
                };
                sample(&mut text, metric.name, &writer.labels, own, &value);
            }
        }
    }
    text
}

/// The lines before the first value of a metric, for metrics of your own beside [`METRICS`].
pub fn begin(text: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a string can't fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// The line of one value, with its labels.
pub fn sample(
    text: &mut String,
    name: &str,
    labels: &[(String, String)],
    own: Option<(&str, &str)>,
    value: &str,
) {
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let labels: Vec<String> = labels
        .filter(|(name, _)| own.is_none_or(|(own, _)| own != *name))
        .chain(own)
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bufferedwriter::WorkerStats;

    #[test]
    fn each_metric_is_introduced_once_before_all_its_values() {
        let mut stats = Stats::default();
        stats.accepted.records = 7;
        stats.workers = vec![WorkerStats::default(); 2];
        let writer =
            |name: &str| Exposed::new(stats.clone(), Health::default()).label("writer", name);
        let text = exposition(&[writer("a\\b\"c\nd"), writer("e")]);
        let accepted = "# HELP bufferedwriter_accepted_records_total Records that the writer accepted\n\
                        # TYPE bufferedwriter_accepted_records_total counter\n\
                        bufferedwriter_accepted_records_total{writer=\"a\\\\b\\\"c\\nd\"} 7\n\
                        bufferedwriter_accepted_records_total{writer=\"e\"} 7\n";
        assert!(text.starts_with(accepted), "{text}");
        let backlog = "bufferedwriter_worker_backlog_chunks{writer=\"e\",worker=\"1\"} 0\n";
        assert!(text.contains(backlog), "{text}");
        let mut seen = Vec::new();
        for line in text.lines() {
            let name =
                line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
            let name = name.split([' ', '{']).next().unwrap_or_default();
            if seen.last() != Some(&name) {
                assert!(!seen.contains(&name), "{name} stands in two places");
                seen.push(name);
            }
        }
        assert!(text.ends_with('\n') && !text.contains("bufferedwriter_disk_guard"));
        assert_eq!(exposition(&[]), "");
        let plain = exposition(&[Exposed::new(stats, Health::default())]);
        assert!(plain.contains("\nbufferedwriter_accepted_records_total 7\n"), "{plain}");
    }

    #[test]
    fn a_metrics_own_label_comes_before_another_of_its_name() {
        let mut text = String::new();
        let labels = [("worker".to_owned(), "x".to_owned())];
        sample(&mut text, "a", &labels, Some(("worker", "1")), "2");
        begin(&mut text, "b", Kind::Gauge, "two\nlines \\");
        assert_eq!(text, "a{worker=\"1\"} 2\n# HELP b two\\nlines \\\\\n# TYPE b gauge\n");
    }
}
