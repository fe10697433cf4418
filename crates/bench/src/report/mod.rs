//! What a run found out, as plain data: it is printed, plotted and written as JSON, from which tables and plots
//! can be made again.
//!
//! Names end with their units. A number that could not be measured is `None`, with the reason in
//! [`Report::skipped`].

mod load;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::load::*;

/// Names of subjects that targets and comparisons refer to.
pub const MEMCPY: &str = "memcpy";
/// The suffix in the names of subjects with crash-proof memory.
pub const CRASH_PROOF: &str = ", crash-proof";
/// That of flight recorders.
pub const RECORDER: &str = ", recorder";
pub const PRODUCER: &str = "Producer::write";
pub const WRITER: &str = "BufferedWriter::write";
pub const TRACING_APPENDER: &str = "tracing-appender";
/// The row of `new` and `close` of the library with its defaults.
pub const NEW_CLOSE_DEFAULTS: &str = "new + close, defaults";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    /// When the run began, in UTC.
    pub date: String,
    pub commit: Option<Commit>,
    pub command: String,
    /// Of the crates that the harness is built with, the peers included.
    pub versions: BTreeMap<String, String>,
    /// In the order of the tables.
    pub subjects: Vec<Described>,
    pub measures: Measures,
    pub skipped: Vec<Skipped>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// The type of the file system that files were written to.
    pub file_system: String,
    /// Speed of direct sequential writes, if a measure needed it.
    pub disk_mb_per_s: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    pub hash: String,
    /// There were uncommitted changes.
    pub dirty: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Described {
    pub name: String,
    pub when_outrun: String,
    pub ours: bool,
    pub lands: bool,
}

/// What could not be measured here, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    pub measure: String,
    pub subject: String,
    pub reason: String,
}

/// The measures that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    pub tight: Option<Tight>,
    pub two_threads: Option<TwoThreads>,
    pub latency: Option<Latency>,
    pub quiet: Option<Quiet>,
    pub startup: Option<Startup>,
    pub sustained: Option<Sustained>,
    pub landed: Option<Landed>,
    pub http: Option<Http>,
}

/// Measure 1: cost of an accepted write in a loop in which nothing is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tight {
    pub round_bytes: u64,
    pub repetitions: u64,
    pub rounds_per_repetition: u64,
    pub rows: Vec<TightRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TightRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub memory_bytes: u64,
    pub record_bytes: u64,
    /// Median over the repetitions of the median over their rounds.
    pub ns: Option<f64>,
    /// To memcpy in the same repetition; median and quartiles over the repetitions.
    pub ratio: Option<Spread>,
    /// With crash-proof memory, or as a flight recorder: the same, to the subject without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_proof: Option<Spread>,
    pub rounds: u64,
    /// Rounds in which a record was refused; not counted in `rounds`.
    pub rounds_thrown_away: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// Cost per write of two threads at once against one, into memory that has room.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TwoThreads {
    pub record_bytes: u64,
    pub round_bytes: u64,
    pub rows: Vec<TwoThreadsRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoThreadsRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub one_ns: Option<f64>,
    pub two_ns: Option<f64>,
    /// `two_ns` to `one_ns` in the same repetition.
    pub ratio: Option<Spread>,
    pub rounds: u64,
    pub rounds_thrown_away: u64,
}

/// Measure 2: how long single calls take, in paced bursts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub record_bytes: u64,
    pub burst_records: u64,
    pub pause_us_min: u64,
    pub pause_us_max: u64,
    /// Already subtracted.
    pub timer_overhead_ns: f64,
    /// The clock's resolution: a shorter time shows as zero or as one step.
    pub timer_step_ns: f64,
    pub rows: Vec<LatencyRow>,
}

/// Which writes a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    All,
    /// Writes that found room in their buffer.
    Fast,
    /// Writes that had to get another buffer.
    Swap,
    /// Fast writes of bursts that were placed around a swap each; `SwapAlone` is the swaps of these bursts.
    FastAroundSwap,
    SwapAlone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub threads: u64,
    pub which: Which,
    pub writes: u64,
    pub refused: u64,
    pub p50_ns: f64,
    pub p90_ns: f64,
    pub p99_ns: f64,
    pub p999_ns: f64,
    pub p9999_ns: f64,
    pub max_ns: f64,
    /// To memcpy's p99 and p99.9 with as many threads.
    pub ratio_p99: Option<f64>,
    pub ratio_p999: Option<f64>,
    /// Nines (1 is the 90th percentile, 2 the 99th) and nanoseconds, for the plot.
    pub curve: Vec<(f64, f64)>,
}

/// Measure 5: what the kernel does for a writing thread in steady state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quiet {
    pub record_bytes: u64,
    pub records_per_s: u64,
    pub rows: Vec<QuietRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuietRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub writes: u64,
    pub refused: u64,
    pub seconds: f64,
    pub faults_minor: u64,
    pub faults_major: u64,
    pub switches_voluntary: u64,
    pub switches_involuntary: u64,
    /// System calls by name; `None` if they could not be counted here.
    pub calls: Option<BTreeMap<String, u64>>,
    /// The calls were counted over a part of the writes only, since there were many.
    pub is_extrapolated: bool,
}

impl QuietRow {
    pub fn calls_total(&self) -> Option<u64> {
        self.calls.as_ref().map(|calls| calls.values().sum())
    }
}

/// Measure 7: what it costs to have a writer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Startup {
    pub new_close: Vec<NewClose>,
    pub idle: Option<Idle>,
    pub crowd: Vec<Crowd>,
}

/// From the start to the end of a subject that does nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewClose {
    pub subject: String,
    pub runs: u64,
    pub median_ms: f64,
    pub p90_ms: f64,
    pub max_ms: f64,
}

/// An unused writer with the defaults, in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// Resident memory of the process with a writer, and without one.
    pub with_kib: u64,
    pub without_kib: u64,
    /// The part of it that is not shared with other processes.
    pub private_with_kib: u64,
    pub private_without_kib: u64,
    pub threads: u64,
    pub seconds: f64,
    /// Context switches of the writer's threads meanwhile: before the first write, and after traffic has ended.
    pub wakeups_fresh: u64,
    pub wakeups_after_traffic: u64,
}

/// Many threads that each write one record, in a process of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crowd {
    pub subject: String,
    pub threads: u64,
    /// The most threads at the same time.
    pub alive: u64,
    pub seconds: f64,
    /// Writes that were refused and offered again.
    pub retried: u64,
    pub landed_records: Option<u64>,
    pub peak_memory_mib: f64,
}

impl Report {
    pub fn write_json(&self, mut to: impl Write) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        writeln!(to, "{text}")?;
        to.flush()
    }

    pub fn read_json(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Notes, once, what could not be measured.
    pub fn skip(&mut self, measure: &str, subject: &str, reason: &str) {
        let skipped =
            Skipped { measure: measure.into(), subject: subject.into(), reason: reason.into() };
        if !self.skipped.contains(&skipped) {
            eprintln!("{measure}: {subject}: skipped, {reason}");
            self.skipped.push(skipped);
        }
    }

    /// A subject's place in the tables.
    pub fn place(&self, subject: &str) -> usize {
        let place = self.subjects.iter().position(|known| known.name == subject);
        place.unwrap_or(self.subjects.len())
    }

    pub fn is_ours(&self, subject: &str) -> bool {
        self.subjects.iter().any(|known| known.name == subject && known.ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_brings_back_what_was_written() {
        let row = SustainedRow {
            subject: PRODUCER.into(),
            buffer_bytes: 64 << 10,
            memory_bytes: 64 << 20,
            offered_mb_per_s: 400.0,
            seconds: 20.0,
            reached_mb_per_s: 390.0,
            fraction_of_disk: 0.8,
            accepted_records: 90,
            refused_records: 10,
            landed_records: 80,
            lost_records: 10,
            mean_ns: 10.5,
            p99_ns: 100.5,
            p999_ns: 300.0,
            max_ns: 1e6,
            cpu_s_per_gb: None,
            sync_s: 0.5,
            peak_memory_mib: 70.0,
            page_cache_mib: 3.0,
            page_cache_dirty_mib: None,
        };
        assert_eq!(row.missing_share(), 0.2);
        let mut report = Report { date: "2026-11-24T08:00:00Z".into(), ..Report::default() };
        report.measures.sustained = Some(Sustained { rows: vec![row], ..Sustained::default() });
        report.commit = Some(Commit { hash: "0123".into(), dirty: true });
        let path = std::env::temp_dir().join(format!("bench-report-{}.json", std::process::id()));
        report.write_json(fs::File::create(&path).unwrap()).unwrap();
        let read = Report::read_json(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), report);
    }
}
