//! The program: writes lines from standard input or files, as records, into complete files.
//!
//! Guarantees: every exit code is one of [`exit`].
//!
//! Flow: arguments, behind those of a file and the environment -> `write` (inputs -> lines -> producer) -> summary, with its monitor beside it;
//! or arguments -> `recover`, `merge`, `verify`, `ship`.

mod commands;
mod console;
mod contents;
mod exit;
mod inputs;
mod settings;
mod sys;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::commands::{Cli, Command, config, generate, merge, recover, ship, verify, write};
use crate::console::Patience;

fn main() -> ExitCode {
    let (code, patience) = run(&std::env::args_os().collect::<Vec<_>>());
    console::finish(patience);
    ExitCode::from(code)
}

/// Runs the command of these arguments. Returns its exit code, and how long to wait for readers of its messages.
fn run(args: &[OsString]) -> (u8, Patience) {
    // Only these two have settings.
    let has_settings = args.get(1).is_some_and(|name| name == "write" || name == "config");
    let gathered =
        if has_settings { settings::gather(args, std::env::vars_os()) } else { Ok(Vec::new()) };
    let settings = match gathered {
        Ok(settings) => settings,
        Err(message) => {
            sys::unblock();
            console::report_usage(message);
            return (exit::USAGE, Patience::Bounded);
        }
    };
    let matches = Cli::command().try_get_matches_from(settings::inserted(args, 2, &settings));
    let parsed =
        matches.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (matches, cli)));
    let (matches, command) = match parsed {
        Ok((matches, cli)) => (matches, cli.command),
        Err(error) => return (refuse(&error), Patience::Bounded),
    };
    match command {
        Command::Write(args) => (write::run(&args), Patience::Bounded),
        Command::Recover(args) => (recover::run(&args), Patience::Unbounded),
        Command::Merge(args) => (merge::run(&args), Patience::Unbounded),
        Command::Verify(args) => (verify::run(&args), Patience::Unbounded),
        Command::Ship(args) => (ship::run(&args), Patience::Bounded),
        Command::Generate(args) => (generate::run(&args, Cli::command()), Patience::Bounded),
        Command::Config(_) => {
            let origins =
                config::Origins { flags: args.get(2..).unwrap_or_default(), settings: &settings };
            let matches = matches.subcommand_matches("config").expect("it is that command");
            (config::run(matches, &origins), Patience::Bounded)
        }
    }
}

/// Prints what clap has to say. Returns the exit code.
fn refuse(error: &clap::Error) -> u8 {
    sys::unblock();
    if !error.use_stderr() || io::stderr().is_terminal() {
        // Help, or colours.
        error.exit();
    }
    console::print(error.render());
    exit::USAGE
}
