//! `stats`: what running writers count, read from their state files.
//!
//! Guarantees: changes nothing but the file of --output, which appears as a whole. The writers notice nothing.

mod id;
mod json;
pub(crate) mod metrics;
mod text;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bufferedwriter::{InstanceStats, stats_of};
use clap::ColorChoice;

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

    /// Show them on the terminal, anew each second, with rates; `q` quits
    #[arg(long, conflicts_with_all = ["json", "prometheus"])]
    watch: bool,

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
    fn temps(&self) -> Vec<PathBuf> {
        if self.temp.is_empty() { vec![std::env::temp_dir()] } else { self.temp.clone() }
    }

    /// Where the writers are looked for.
    fn dirs(&self) -> String {
        let shown = |dir: &PathBuf| console::printable(&dir.to_string_lossy());
        self.temps().iter().map(shown).collect::<Vec<_>>().join(", ")
    }

    /// The writers that are asked for, in the order of the directories and of their names.
    fn read(&self) -> Result<Vec<InstanceStats>, bufferedwriter::Error> {
        let mut found = Vec::new();
        for temp in self.temps() {
            found.extend(stats_of(temp)?);
        }
        found.retain(|it| self.prefix.as_ref().is_none_or(|prefix| *prefix == it.prefix));
        Ok(found)
    }
}

/// Runs the command. Returns the exit code.
pub(crate) fn run(args: &Stats, color: ColorChoice) -> u8 {
    // A signal ends the program, as any other.
    sys::unblock();
    console::keep_all();
    if args.watch {
        return watch::run(args, has_colors(color));
    }
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
        console::report(format_args!("there are no writers in {}", args.dirs()));
    }
    match written {
        Ok(()) => exit::WRITTEN,
        Err(error) => {
            console::report(format_args!("write to {what}: {error}"));
            exit::IO
        }
    }
}

/// On a terminal.
fn has_colors(color: ColorChoice) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    color == ColorChoice::Always || color == ColorChoice::Auto && !no_color
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
