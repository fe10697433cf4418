//! `stats`: what running writers count, read from their state files.
//!
//! Guarantees: changes nothing but the file of --output, which appears as a whole. The writers notice nothing.

mod id;
mod json;
pub(crate) mod metrics;
mod options;
mod text;
mod watch;

use std::io::{self, Write};
use std::path::Path;

use clap::ColorChoice;

pub(crate) use crate::commands::stats::options::Stats;
use crate::console::{self, Descriptor};
use crate::{exit, sys};

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
