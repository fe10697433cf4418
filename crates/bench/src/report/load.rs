//! What the measures under load find out: sustained, flat out, and behind a server.

use serde::{Deserialize, Serialize};

/// Measure 3: the same load for all, at fractions of the disk's own speed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    pub record_bytes: u64,
    pub seconds: f64,
    /// Before the first row, which loads are fractions of, and after the last.
    pub disk_mb_per_s: f64,
    pub disk_mb_per_s_after: f64,
    /// That share the load.
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
    /// Less than that of all: the load was stopped, for the subject took too much memory.
    pub seconds: f64,
    /// Less than offered: the subject made its callers wait.
    pub reached_mb_per_s: f64,
    pub fraction_of_disk: f64,
    pub accepted_records: u64,
    pub refused_records: u64,
    /// Bytes in the files, as records.
    pub landed_records: u64,
    /// Accepted, but not landed.
    pub lost_records: u64,
    pub p99_ns: f64,
    pub p999_ns: f64,
    pub max_ns: f64,
    /// Of all threads, per 10^9 bytes landed; `None` if nothing landed. Of what lands nowhere, a bare
    /// memcpy, per 10^9 bytes accepted: what the load itself costs.
    pub cpu_s_per_gb: Option<f64>,
    /// Until all files were on the disk, after the subject had said that it was done.
    pub sync_s: f64,
    pub peak_memory_mib: f64,
    /// Pages of the files, in memory when the subject had said that it was done.
    pub page_cache_mib: f64,
    /// Of these, what was still to be written; `None` where the kernel does not tell.
    pub page_cache_dirty_mib: Option<f64>,
}

impl SustainedRow {
    /// Refused or lost, of what was offered.
    pub fn missing_share(&self) -> f64 {
        let offered = self.accepted_records + self.refused_records;
        (self.refused_records + self.lost_records) as f64 / (offered.max(1)) as f64
    }
}

/// Measure 4: as fast as it goes, and what the files hold afterwards.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Landed {
    pub record_bytes: u64,
    /// A round ends when so many bytes were accepted, or after so many seconds.
    pub bytes_max: u64,
    pub seconds_max: f64,
    pub threads: u64,
    /// Each row is the median of so many rounds.
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
    /// Landed, until the subject had said that it was done.
    pub mb_per_s: f64,
    /// To the disk's speed before the same round.
    pub fraction_of_disk: f64,
    /// Landed, until all files were on the disk; and its fraction.
    pub synced_mb_per_s: f64,
    pub synced_fraction_of_disk: f64,
    /// In each round: whole records only, none twice, as many as were accepted.
    pub complete: bool,
    /// Of all rounds together, as is what follows.
    pub accepted_records: u64,
    pub landed_records: u64,
    pub files: u64,
    pub seconds: f64,
    /// The most that a round left behind.
    pub page_cache_mib: f64,
    pub page_cache_dirty_mib: Option<f64>,
}

/// A server that logs a line a request, against the same one without logging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Http {
    pub connections: u64,
    /// Each of the two phases of a round: as many requests as the server takes, and paced.
    pub seconds: f64,
    pub rounds: u64,
    /// At which latencies are measured, the same for all.
    pub paced_requests_per_s: f64,
    pub rows: Vec<HttpRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HttpRow {
    pub subject: String,
    pub buffer_bytes: u64,
    pub memory_bytes: u64,
    /// As many as the server takes.
    pub requests_per_s: f64,
    /// From when a request was due, at the paced rate.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// To the same server without logging.
    pub relative_requests: f64,
    pub relative_p999: f64,
    /// Processor time of the server with all of its threads, at the paced rate, by request; and what is beyond that of the
    /// same server without logging.
    pub cpu_us_per_request: f64,
    pub cpu_us_of_logging: f64,
    /// Of all rounds, as is what follows.
    pub landed_lines: u64,
    pub refused_lines: u64,
    pub requests: u64,
}
