//! `stats`: what running writers count, read from their state files.
//!
//! Guarantees: changes nothing but the file of --output, which appears as a whole. The writers notice nothing.

mod id;
mod json;
pub(crate) mod metrics;
mod text;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bufferedwriter::{InstanceStats, stats_of};

use crate::console::{self, Descriptor};
use crate::{exit, sys};

const AFTER_HELP: &str = "\
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

    /// Print one JSON object on standard output
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,

    /// Print metrics in the text format of Prometheus
    #[arg(long)]
    prometheus: bool,

    /// Write the metrics to this file, which is replaced at once
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    output: Option<PathBuf>,
}

impl Stats {
    /// The writers that are asked for, in the order of the directories and of their names.
    fn read(&self) -> Result<Vec<InstanceStats>, bufferedwriter::Error> {
        let system = [std::env::temp_dir()];
        let temps = if self.temp.is_empty() { &system[..] } else { &self.temp };
        let mut found = Vec::new();
        for temp in temps {
            found.extend(stats_of(temp)?);
        }
        found.retain(|it| self.prefix.as_ref().is_none_or(|prefix| *prefix == it.prefix));
        Ok(found)
    }
}

/// Runs the command. Returns the exit code.
pub(crate) fn run(args: &Stats) -> u8 {
    // A signal ends the program, as any other.
    sys::unblock();
    console::keep_all();
    let found = match args.read() {
        Ok(found) => found,
        Err(error) => {
            console::report(error);
            return exit::IO;
        }
    };
    let text = if args.prometheus {
        metrics::text(&found)
    } else if args.json {
        format!("{}\n", json::object(&found))
    } else {
        text::of(&found)
    };
    let (what, written) = match &args.output {
        Some(file) => (file.display().to_string(), replace(file, &text)),
        None => ("standard output".to_owned(), Descriptor::stdout().write_all(text.as_bytes())),
    };
    if found.is_empty() && !args.json && !args.prometheus {
        console::report("there are no writers");
    }
    match written {
        Ok(()) => exit::WRITTEN,
        Err(error) => {
            console::report(format_args!("write to {what}: {error}"));
            exit::IO
        }
    }
}

/// Writes a file under another name in its directory, and renames it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A collector reads names that end in .prom alone.
    let mut made =
        tempfile::Builder::new().prefix(".bufferedwriter").suffix(".tmp").tempfile_in(dir)?;
    made.write_all(text.as_bytes())?;
    // The collector is another user.
    sys::make_readable(made.as_file())?;
    made.persist(file)?;
    Ok(())
}
