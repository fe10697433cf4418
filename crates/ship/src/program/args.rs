//! The options of the program.

use std::path::PathBuf;
use std::time::Duration;

use bufferedwriter::text;
use bufferedwriter_ship::{Access, After, Config, Until};
use clap::Parser;

/// Ship finished files to an object store, each once
///
/// Follows the directory until SIGTERM or SIGINT. Credentials come from the environment, as the store's own tools read
/// it: AWS_ACCESS_KEY_ID and the like, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_KEY.
#[derive(Debug, Parser)]
#[command(name = "bufferedwriter-ship", version)]
pub(crate) struct Args {
    /// The directory of finished files: a writer's --path
    #[arg(long, value_name = "DIR")]
    from: PathBuf,

    /// Where objects go: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or a directory
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: String,

    /// Ship these files alone, and end
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// The writer's manifest: lengths are compared with it, and records counted
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    /// What was shipped, so that a restart asks less [default: a hidden file beside DIR]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,

    /// Ship what is there, and end
    #[arg(long, conflicts_with = "drain")]
    once: bool,

    /// Ship what is there, for this time at most; then list what is left, and end
    #[arg(long, value_name = "DEADLINE", value_parser = text::duration)]
    drain: Option<Duration>,

    /// What becomes of shipped files: keep, delete, or an age such as 1day at which they are deleted
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = after)]
    after: After,

    /// Files that are uploaded at the same time
    #[arg(long, value_name = "FILES", default_value_t = 4)]
    concurrency: usize,

    /// Files longer than this go in parts
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = text::size)]
    multipart: u64,

    /// The length of a part; S3 wants 5MiB or more
    #[arg(long, value_name = "BYTES", default_value = "16MiB", value_parser = text::size)]
    part: u64,

    /// At most so many bytes a second
    #[arg(long, value_name = "BYTES", value_parser = text::size)]
    rate: Option<u64>,

    /// List the directory this often, besides the system's news of it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = text::duration)]
    rescan: Duration,

    /// Give a file up after so many attempts [default: 10 with --once, else never]
    #[arg(long, value_name = "NUMBER")]
    attempts: Option<u32>,

    /// The longest pause after an error
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = text::duration)]
    backoff: Duration,

    /// How long a request may take, its body included
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = text::duration)]
    timeout: Duration,

    /// How long to go on after SIGTERM or SIGINT; a second one ends it at once
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = text::duration)]
    pub(crate) stop_within: Duration,

    /// The address of an S3 service other than Amazon's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// The region of the bucket
    #[arg(long, value_name = "NAME")]
    region: Option<String>,

    /// Permit http://, where everybody on the way reads and changes what is sent
    #[arg(long)]
    allow_http: bool,

    /// The summary as one line of JSON, on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Write the counters to this file every 10 seconds, as Prometheus reads them
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,

    /// No progress and no summary
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Args {
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(&self.from)
            .after(self.after)
            .concurrency(self.concurrency)
            .multipart(self.multipart)
            .part(self.part)
            .rescan(self.rescan)
            .backoff_max(self.backoff);
        if let Some(manifest) = &self.manifest {
            config = config.manifest(manifest);
        }
        if let Some(journal) = &self.journal {
            config = config.journal(journal);
        }
        if let Some(rate) = self.rate {
            config = config.rate(rate);
        }
        match self.attempts.or((self.until() == Until::Once).then_some(10)) {
            Some(attempts) => config.attempts(attempts),
            None => config,
        }
    }

    pub(crate) fn access(&self) -> Access {
        let mut access = Access::default();
        access.allow_http = self.allow_http;
        access.endpoint.clone_from(&self.endpoint);
        access.region.clone_from(&self.region);
        access.timeout = self.timeout;
        access
    }

    pub(crate) fn until(&self) -> Until {
        match self.drain {
            Some(deadline) => Until::Drained(deadline),
            None if self.once || !self.files.is_empty() => Until::Once,
            None => Until::Stopped,
        }
    }
}

fn after(value: &str) -> Result<After, String> {
    match value {
        "keep" => Ok(After::Keep),
        "delete" => Ok(After::Delete),
        age => text::duration(age).map(After::KeepFor).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
