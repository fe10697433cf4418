//! What happens to published files.

use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::Config;
use bufferedwriter::text::{duration, size};
use clap::ArgAction;

use crate::commands::write::hook::Hook;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Published files")]
pub(super) struct Published {
    /// Command to run for each published file
    ///
    /// It is run without a shell, and `{}` stands for the file's path. See below.
    #[arg(long, value_name = "COMMAND", value_parser = Hook::parse)]
    pub(super) on_publish: Option<Hook>,

    /// File that gets one line of JSON for each published file
    ///
    /// The line has id, path, bytes, records, first and last time and more. Not in --path; its directory must
    /// exist. Writers may share it.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    manifest: Option<PathBuf>,

    /// Delete the oldest complete files when all take more of the disk than this; 0 = off
    ///
    /// Those with this prefix and extension count, those of other writers of this user included. The newest stays.
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size, hide_short_help = true)]
    retain_bytes: u64,

    /// Delete the oldest complete files when there are more than this; 0 = off
    #[arg(long, value_name = "COUNT", default_value = "0", hide_short_help = true)]
    retain_files: u64,

    /// Delete files at this age; 0 = never
    ///
    /// The age is by the time in their names. Files of this prefix and extension count, as with --retain-bytes.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration)]
    retain_age: Duration,

    /// Whether files stay until --on-publish has succeeded for them, whatever the --retain options say
    ///
    /// With false, the command may be run for a file that is gone.
    #[arg(long, value_name = "BOOL", default_value = "true", action = ArgAction::Set, hide_short_help = true)]
    retain_unacknowledged: bool,

    /// Symbolic link that leads to the newest complete file [default: none]
    ///
    /// Best outside of --path. Nothing but a symbolic link is ever replaced.
    #[arg(long, value_name = "LINK", hide_short_help = true)]
    latest: Option<PathBuf>,
}

impl Published {
    pub(super) fn apply(&self, config: Config) -> Config {
        let config = config
            .retain_bytes(self.retain_bytes)
            .retain_files(self.retain_files)
            .retain_age(self.retain_age)
            .retain_unacknowledged(self.retain_unacknowledged);
        let config = match &self.latest {
            Some(link) => config.latest(link),
            None => config,
        };
        let config = match &self.manifest {
            Some(file) => config.manifest(file),
            None => config,
        };
        match self.on_publish.clone() {
            Some(hook) => config.on_publish(move |file| hook.run(file)),
            None => config,
        }
    }
}
