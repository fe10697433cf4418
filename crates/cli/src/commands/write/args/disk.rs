//! What happens when the disk is full, slow or broken.

use std::time::Duration;

use bufferedwriter::Config;
use bufferedwriter::text::{duration, size};
use clap::ValueEnum;

/// What happens to a line while memory is full or the disk guard refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// It waits, and so does the program that writes into the pipe
    Wait,
    /// It is dropped and counted as refused (exit code 3)
    Drop,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "When the disk fails")]
pub(super) struct Disk {
    /// What to do while memory or the disk is full
    ///
    /// A line waits or is dropped, also while a limit of the disk is reached. Behind a server, drop: else its
    /// requests wait for the disk.
    #[arg(long, value_name = "WHAT", default_value = "wait")]
    pub(super) when_full: WhenFull,

    /// Take no more lines when the file system of --path or --temp has no more than this free; 0 = off
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size, hide_short_help = true)]
    min_free: u64,

    /// Take no more lines when all files with this prefix and extension take this much of the disk; 0 = off
    ///
    /// Temp files and files of other writers count too. Nothing is deleted for that.
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size, hide_short_help = true)]
    max_total: u64,

    /// Start although the disk is full, and take no lines until there is room
    #[arg(long, hide_short_help = true)]
    start_on_full_disk: bool,

    /// How long lines wait in memory while the disk fails; 0 = without limit
    ///
    /// After that they count as lost (exit code 3), and reading continues.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration, hide_short_help = true)]
    give_up_after: Duration,
}

impl Disk {
    pub(super) fn apply(&self, config: Config) -> Config {
        config
            .min_free(self.min_free)
            .max_total(self.max_total)
            .start_on_full_disk(self.start_on_full_disk)
            .give_up_after(self.give_up_after)
    }
}
