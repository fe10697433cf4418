//! What the program tells: progress, summary, JSON, metrics.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use bufferedwriter_ship::{Report, Stats};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// A line on the terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style = "{bar:24} {bytes} of {total_bytes}, {bytes_per_sec}, {msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
        Progress(bar)
    }

    pub(crate) fn show(&mut self, stats: &Stats) {
        self.0.set_length(stats.shipped_bytes + stats.waiting_bytes);
        self.0.set_position(stats.shipped_bytes);
        let files = format!("{} files shipped, {} wait", stats.shipped, stats.waiting);
        self.0.set_message(files);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Name, help, and whether it is a gauge.
type Row = (&'static str, &'static str, bool, fn(&Stats) -> u64);

const ROWS: [Row; 13] = [
    ("shipped", "Files uploaded and compared", false, |s| s.shipped),
    ("shipped_bytes", "Their bytes", false, |s| s.shipped_bytes),
    ("records", "Records of files whose object is there, by the manifest", false, |s| s.records),
    ("already", "Files whose object was there, and equal", false, |s| s.already),
    ("remembered", "Files that the journal had", false, |s| s.remembered),
    ("gone", "Files that somebody else took", false, |s| s.gone),
    ("deleted", "Files deleted after the compare", false, |s| s.deleted),
    ("retries", "Attempts that failed", false, |s| s.retries),
    ("throttled", "Answers that ask for a slower pace", false, |s| s.throttled),
    ("conflicts", "Objects that differ from their files", false, |s| s.conflicts),
    ("waiting", "Files that wait", true, |s| s.waiting),
    ("waiting_bytes", "Their bytes", true, |s| s.waiting_bytes),
    ("aborted", "Unfinished uploads that were removed", false, |s| s.aborted),
];

/// In the text format of Prometheus. A new file takes the place of the old one.
pub(crate) fn metrics(path: &Path, stats: &Stats) -> io::Result<()> {
    let mut text = String::new();
    for (name, help, is_gauge, value) in ROWS {
        let (kind, end) = if is_gauge { ("gauge", "") } else { ("counter", "_total") };
        let name = format!("bufferedwriter_ship_{name}{end}");
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}\n", value(stats));
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// One line on standard output.
pub(crate) fn json(report: &Report) {
    let mut line = json!({ "complete": report.is_complete(), "warnings": report.warnings });
    for (name, _, _, value) in ROWS {
        line[name] = value(&report.stats).into();
    }
    let pair =
        |file: &Path, reason: &str| json!({ "file": file.to_string_lossy(), "reason": reason });
    line["differ"] = report.conflicts.iter().map(|one| pair(&one.file, &one.reason)).collect();
    line["left"] = report.left.iter().map(|one| pair(&one.file, &one.reason)).collect();
    line["error"] = report.error.as_ref().map(ToString::to_string).into();
    // Whoever closed the pipe does not want it.
    let _ = writeln!(io::stdout(), "{line}");
}

/// For people, on standard error.
pub(crate) fn summary(report: &Report) {
    let mut lines = String::new();
    for conflict in &report.conflicts {
        lines += &format!("conflict: {}: {}\n", conflict.file.display(), conflict.reason);
    }
    for left in &report.left {
        let reason = if left.reason.is_empty() { "not tried" } else { &left.reason };
        lines += &format!("left: {}: {reason}\n", left.file.display());
    }
    for warning in &report.warnings {
        lines += &format!("warning: {warning}\n");
    }
    if let Some(error) = &report.error {
        lines += &format!("error: {error}\n");
    }
    let Stats { shipped, shipped_bytes, already, remembered, deleted, .. } = report.stats;
    lines += &format!(
        "{shipped} files shipped, {shipped_bytes} bytes; {} were there; {deleted} deleted; {} left\n",
        already + remembered,
        report.left.len()
    );
    let _ = io::stderr().write_all(lines.as_bytes());
}
