//! Completions for shells, and man pages, from the options themselves. Packages install them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::console;
use crate::exit;

/// Print completions for a shell, or write man pages
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Completions on standard output: bash, elvish, fish, powershell, zsh
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Man pages, one for each command, in a directory that exists
    Man {
        /// The directory
        dir: PathBuf,
    },
}

/// Runs the command, for this definition of the whole command line. Returns the exit code.
pub(crate) fn run(args: &Generate, whole: Command) -> u8 {
    let done = match &args.what {
        What::Completions { shell } => {
            completions(*shell, whole).map_err(|error| format!("write: {error}"))
        }
        What::Man { dir } => man(dir, whole),
    };
    match done {
        Ok(()) => exit::WRITTEN,
        Err(message) => {
            console::report(message);
            exit::IO
        }
    }
}

fn completions(shell: Shell, mut whole: Command) -> io::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole, "bufferedwriter", &mut text);
    io::stdout().write_all(&text)
}

fn man(dir: &Path, whole: Command) -> Result<(), String> {
    let mut command = whole.disable_help_subcommand(true);
    command.build();
    let name = command.get_name().to_owned();
    let pages = std::iter::once((name.clone(), command.clone())).chain(
        command.get_subcommands().map(|part| (format!("{name}-{}", part.get_name()), part.clone())),
    );
    for (name, page) in pages {
        let mut text = Vec::new();
        // Writing to a vector can't fail.
        let _ = Man::new(page.display_name(&name)).title(&name).render(&mut text);
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, text)
            .map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    Ok(())
}
