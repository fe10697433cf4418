//! The options of `stats`, and the writers that they ask for.

use std::ffi::OsString;
use std::path::PathBuf;

use bufferedwriter::{InstanceStats, stats_of};

use crate::console;

const AFTER_HELP: &str = "\
Examples:
  bufferedwriter stats --temp /var/log/app/.tmp --watch
  bufferedwriter stats --temp /var/log/app/.tmp --json | jq

A writer, of this program or of any other that uses the library, tells its counts in a hidden file in its temp \
directory, about once a second while they change. This command reads these files; no connection is needed. It sees \
the writers of its own user, and root sees all. The file of a dead writer is shown with its last counts until \
somebody recovers it: see `bufferedwriter recover --help`.

Prometheus: With --prometheus the counts are metrics, as the guide lists them, with the labels `prefix`, `path` and \
`writer`. `bufferedwriter_up` is 1 for a living writer. For the textfile collector of the node exporter, run it once \
a minute with --output /var/lib/node_exporter/bufferedwriter.prom: the file is written under another name and renamed.

Exit codes:
  0  also if there are no writers
  1  a directory or a file failed
  2  an option is wrong";

/// Show what running writers count: records accepted, written and lost, backlog, errors
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Stats {
    /// The writers' --temp: directory in which they write their files; may be repeated [default: the system's temp
    /// directory]
    #[arg(long, value_name = "DIR")]
    temp: Vec<PathBuf>,

    /// Show only writers with this prefix [default: any]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// Show them on the terminal, anew each second, with rates; `q` quits
    #[arg(long, conflicts_with_all = ["json", "prometheus"])]
    pub(super) watch: bool,

    /// Print one JSON object on standard output
    #[arg(long, conflicts_with = "prometheus")]
    pub(super) json: bool,

    /// Print metrics in the text format of Prometheus
    #[arg(long)]
    pub(super) prometheus: bool,

    /// Write the metrics to this file, which is replaced at once
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub(super) output: Option<PathBuf>,
}

impl Stats {
    fn temps(&self) -> Vec<PathBuf> {
        if self.temp.is_empty() { vec![std::env::temp_dir()] } else { self.temp.clone() }
    }

    /// Where the writers are looked for.
    pub(super) fn dirs(&self) -> String {
        let shown = |dir: &PathBuf| console::printable(&dir.to_string_lossy());
        self.temps().iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// The writers that are asked for, in the order of the directories and of their names.
    pub(super) fn read(&self) -> Result<Vec<InstanceStats>, bufferedwriter::Error> {
        let mut found = Vec::new();
        for temp in self.temps() {
            found.extend(stats_of(temp)?);
        }
        found.retain(|it| self.prefix.as_ref().is_none_or(|prefix| *prefix == it.prefix));
        Ok(found)
    }
}
