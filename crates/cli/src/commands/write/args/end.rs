//! When files end, and in which directory they appear then.

use std::time::Duration;

use bufferedwriter::text::{duration, size};
use bufferedwriter::{Boundary, Config};

use crate::commands::values::name_and_value;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "When files end")]
pub(super) struct End {
    /// Size at which a file is published
    ///
    /// 0 = one file for every chunk.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    file_size: u64,

    /// Age at which a file is published
    ///
    /// The age is that of its oldest line; 0 = no limit.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    file_age: Duration,

    /// Longest time until a line is in a visible file, while the disk answers; 0 = no limit
    ///
    /// Files end that often, so 1s makes up to 86,400 files a day.
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = duration, hide_short_help = true)]
    forced: Duration,

    /// Also at the clock: minute, 15m, hour, 6h, day
    ///
    /// Files end at each boundary [default: never]. A number divides 60 or 24. Each file then holds the lines of one
    /// period.
    #[arg(long, value_name = "BOUNDARY")]
    rotate_at: Option<Boundary>,

    /// Directory below --path, such as dt=%F/hour=%H
    ///
    /// A file appears in it. Codes of strftime stand for the time, down to the minute, in --time-zone. {host} is the
    /// machine's name, {pid} the process's id, {NAME} a --partition-value. Files also end where the directory
    /// changes. --temp must be outside of --path [default: --path itself]
    #[arg(long, value_name = "TEMPLATE")]
    partition: Option<String>,

    /// What {NAME} in --partition stands for; may be given for several names
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value, hide_short_help = true)]
    partition_value: Vec<(String, String)>,

    /// Time zone of --rotate-at and --partition: UTC, local, or an IANA name such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC", hide_short_help = true)]
    time_zone: String,
}

impl End {
    pub(super) fn apply(&self, config: Config) -> Config {
        let config = config
            .file_size(self.file_size)
            .file_age(self.file_age)
            .forced(self.forced)
            .rotate_at(self.rotate_at.unwrap_or_default())
            .partition(self.partition.as_deref().unwrap_or_default())
            .time_zone(&self.time_zone);
        let values = self.partition_value.iter();
        values.fold(config, |config, (name, value)| config.partition_value(name, value))
    }
}
