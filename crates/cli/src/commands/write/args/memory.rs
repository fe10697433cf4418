//! The memory that lines take on their way.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bufferedwriter::text::size;
use bufferedwriter::{Config, CrashProof, Recorder};
use clap::builder::{OsStringValueParser, TypedValueParser};

/// Default directory of crash-proof memory.
const SHM: &str = "/dev/shm";

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Memory")]
pub(super) struct Memory {
    /// Number of workers, each with its own file; 1 to 256
    ///
    /// Files of one worker are in the order of the input. More of them write more than one core or one file can.
    #[arg(long, value_name = "COUNT", default_value = "1", hide_short_help = true)]
    workers: usize,

    /// Bytes that a thread fills in memory before they go to a worker; 1 to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "8192", value_parser = size, hide_short_help = true)]
    size: u64,

    /// Number of chunks of --size that may wait while all workers are busy; 0 to 1048576
    #[arg(long, value_name = "COUNT", default_value = "1024", hide_short_help = true)]
    queue_size: usize,

    /// Lines in memory outlive the program, also kill -9
    ///
    /// The memory is a file on a tmpfs: in DIR, or in /dev/shm if DIR is not given or auto. The next program with
    /// the same --path, --temp and --prefix publishes the lines [default: off]
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "auto", value_parser = OsStringValueParser::new().map(crash_proof))]
    crash_proof: Option<CrashProof>,

    /// Keep the newest lines in memory, this much of them, and write files only on SIGUSR1
    ///
    /// The oldest lines are written over; the summary counts them as overwritten. --queue-size chunks more hold what
    /// comes in while a file is written. What is in memory at the end of the input is written too. whole
    /// keeps seven eighths of --queue-size instead of a size [default: off]
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "off",
        hide_default_value = true,
        hide_short_help = true
    )]
    recorder: Recorder,

    /// Make all memory resident at the start and lock it, so that no line waits for a page
    ///
    /// Needs room in the limit of locked memory (ulimit -l).
    #[arg(long, hide_short_help = true)]
    populate: bool,
}

impl Memory {
    /// Length of the longest line that the writer's memory can hold, newline included.
    pub(super) fn line_bytes_max(&self) -> usize {
        let size = bytes_in_memory(self.size);
        match self.recorder {
            Recorder::Last(bytes) => bytes,
            Recorder::Whole => {
                let chunks = self.queue_size.saturating_add(1);
                (chunks - chunks.div_ceil(8)).max(1).saturating_mul(size)
            }
            _ => self.queue_size.saturating_add(self.workers).saturating_mul(size),
        }
    }

    /// Whether the writer is a flight recorder.
    pub(super) fn records(&self) -> bool {
        self.recorder != Recorder::Off
    }

    pub(super) fn apply(&self, config: Config) -> Config {
        config
            .size(bytes_in_memory(self.size))
            .queue_size(self.queue_size)
            .workers(self.workers)
            .crash_proof(self.crash_proof.clone().unwrap_or(CrashProof::Off))
            .populate(self.populate)
            .recorder(self.recorder)
            // If a dump at the end was not in time.
            .dump_on_close(self.records())
    }
}

fn crash_proof(text: OsString) -> CrashProof {
    match text.to_str() {
        // In a file of options, `true` is the flag without a value.
        Some("off" | "false") => CrashProof::Off,
        Some("auto" | "true" | SHM) => CrashProof::Auto,
        _ => CrashProof::Dir(PathBuf::from(Path::new(&text))),
    }
}

/// A size beyond the address space is out of range too, and the library reports it.
fn bytes_in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
