//! Where files are, and what they are called.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use bufferedwriter::Config;
use bufferedwriter::text::mode;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Where files are")]
pub(super) struct Place {
    /// Directory in which complete files appear
    #[arg(long, value_name = "DIR")]
    pub(super) path: PathBuf,

    /// Directory of unfinished files
    ///
    /// Files are written there before they appear. Best on the file system of --path [default: the system's temp
    /// directory]
    #[arg(long, value_name = "DIR")]
    temp: Option<PathBuf>,

    /// Create missing directories
    ///
    /// Only the owner has access to them (0700).
    #[arg(long)]
    pub(super) create_dirs: bool,

    /// First part of every file name
    ///
    /// [default: none] No `/`; with the extension at most 160 bytes.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// Last part of every file name, after a dot
    ///
    /// No `/`; with the prefix at most 160 bytes. Empty = no dot either.
    #[arg(long, value_name = "TEXT", default_value = "log", hide_short_help = true)]
    extension: OsString,

    /// Permissions of the files in octal, independent of the umask; 0 to 0777
    #[arg(long, value_name = "OCTAL", default_value = "0600", value_parser = mode, hide_short_help = true)]
    mode: u32,
}

impl Place {
    pub(super) fn prefix(&self) -> &OsStr {
        self.prefix.as_deref().unwrap_or_default()
    }

    pub(super) fn apply(&self, config: Config) -> Config {
        let config = config
            .path(&self.path)
            .create_dirs(self.create_dirs)
            .prefix(self.prefix.clone().unwrap_or_default())
            .extension(&self.extension)
            .mode(self.mode);
        match &self.temp {
            Some(dir) => config.temp(dir),
            None => config,
        }
    }
}
