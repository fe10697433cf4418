//! The command line: one module for each command, with its options.

pub(crate) mod config;
pub(crate) mod generate;
pub(crate) mod merge;
pub(crate) mod recover;
pub(crate) mod ship;
mod values;
pub(crate) mod verify;
mod walk;
pub(crate) mod write;

use clap::{Parser, Subcommand};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "bufferedwriter", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "the program has one of it")]
pub(crate) enum Command {
    Write(write::args::Write),
    Config(config::Config),
    Recover(recover::Recover),
    Merge(merge::args::Merge),
    Verify(verify::Verify),
    Ship(ship::Ship),
    Generate(generate::Generate),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
