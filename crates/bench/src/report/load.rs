//! The results of the measures under load: sustained, as fast as possible, and in a server.

use serde::{Deserialize, Serialize};

/// Measure 3: the same load for all, at fractions of the disk's own speed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    pub record_bytes: u64,
    pub seconds: f64,
    /// Measured before the first row, for the loads that are fractions of it, and after the last.
    pub disk_mb_per_s: f64,
    pub disk_mb_per_s_after: f64,
    /// Threads that share the load.
    pub threads: u64,
    pub rows: Vec<SustainedRow>,
}

impl Sustained {
    /// Rows with the largest buffers, which all subjects have.
    pub fn large_rows(&self) -> Vec<&SustainedRow> {
        let large = self.rows.iter().map(|row| row.buffer_bytes).max().unwrap_or(0);
        self.rows.iter().filter(|row| row.buffer_bytes == large).collect()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SustainedRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub memory_bytes: u64,
    pub offered_mb_per_s: f64,
    /// Less than [`Sustained::seconds`] if the load was stopped because the subject took too much memory.
    pub seconds: f64,
    /// Less than offered if the subject made its callers wait.
    pub reached_mb_per_s: f64,
    pub fraction_of_disk: f64,
    pub accepted_records: u64,
    pub refused_records: u64,
    /// Records' worth of bytes in the files.
    pub landed_records: u64,
    /// Accepted, but not landed.
    pub lost_records: u64,
    /// What a write costs on average, accepted or not. 0 in reports from before it was measured.
    #[serde(default)]
    pub mean_ns: f64,
    pub p99_ns: f64,
    pub p999_ns: f64,
    pub max_ns: f64,
    /// Processor time of all threads per 10^9 bytes landed; `None` if nothing landed. For memcpy, which writes no
    /// file, per 10^9 bytes accepted: what the load itself costs.
    pub cpu_s_per_gb: Option<f64>,
    /// From when the subject said that it was done until all files were on the disk.
    pub sync_s: f64,
    pub peak_memory_mib: f64,
    /// Cached pages of the files when the subject said that it was done.
    pub page_cache_mib: f64,
    /// The part of it that was still to be written; `None` if the kernel does not tell.
    pub page_cache_dirty_mib: Option<f64>,
}

impl SustainedRow {
    /// The share of the offered records that was refused or lost.
    pub fn missing_share(&self) -> f64 {
        let offered = self.accepted_records + self.refused_records;
        (self.refused_records + self.lost_records) as f64 / (offered.max(1)) as f64
    }
}

/// Measure 4: records as fast as possible, and what the files hold afterwards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Landed {
    pub record_bytes: u64,
    /// A round ends after this many accepted bytes, or after `seconds_max`.
    pub bytes_max: u64,
    pub seconds_max: f64,
    pub threads: u64,
    /// Rounds, of which each row is the median.
    pub rounds: u64,
    /// Median of what was measured before each round.
    pub disk_mb_per_s: f64,
    pub rows: Vec<LandedRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LandedRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub memory_bytes: u64,
    /// Bytes landed, over the time until the subject said that it was done.
    pub mb_per_s: f64,
    /// Relative to the disk's speed before the same round.
    pub fraction_of_disk: f64,
    /// The same over the time until all files were on the disk.
    pub synced_mb_per_s: f64,
    pub synced_fraction_of_disk: f64,
    /// In each round the files held whole records only, none twice, and as many as were accepted.
    pub complete: bool,
    /// Summed over all rounds, as the next three are.
    pub accepted_records: u64,
    pub landed_records: u64,
    pub files: u64,
    pub seconds: f64,
    /// The most that any round left behind.
    pub page_cache_mib: f64,
    pub page_cache_dirty_mib: Option<f64>,
}

/// A server that logs a line a request, against the same one without logging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Http {
    pub connections: u64,
    /// Of each of the two phases of a round: as many requests as the server takes, then paced ones.
    pub seconds: f64,
    pub rounds: u64,
    /// The rate at which latencies are measured, the same for all.
    pub paced_requests_per_s: f64,
    pub rows: Vec<HttpRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub memory_bytes: u64,
    /// Of the phase with as many requests as the server takes.
    pub requests_per_s: f64,
    /// From when a request was due, in the paced phase.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// Relative to the same server without logging.
    pub relative_requests: f64,
    pub relative_p999: f64,
    /// Processor time of all of the server's threads, by request, in the paced phase. The second is how much
    /// more that is than for the same server without logging.
    pub cpu_us_per_request: f64,
    pub cpu_us_of_logging: f64,
    /// Summed over all rounds, as the next two are.
    pub landed_lines: u64,
    pub refused_lines: u64,
    pub requests: u64,
}
