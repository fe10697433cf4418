//! The program: writes lines from standard input or files, as records, into complete files.
//!
//! Guarantees: every exit code is one of [`exit`].
//!
//! Flow: arguments, behind those of a file and the environment -> `write` (inputs -> lines -> producer) -> summary, with its monitor beside it;
//! or arguments -> `recover`, `merge`, `verify`, `stats`, `ship`.

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

use clap::{ArgMatches, ColorChoice, CommandFactory, FromArgMatches};

use crate::commands::write::args::Write;
use crate::commands::write::reload::Reload;
use crate::commands::{Cli, Command, config, generate, merge, recover, ship, stats, verify, write};
use crate::console::Patience;

fn main() -> ExitCode {
    let mut args = std::env::args_os().collect();
    let color = commands::color(&mut args);
    let (code, patience) = run(&args, color);
    console::finish(patience);
    sys::ends(code);
    ExitCode::from(code)
}

/// Runs the command of these arguments. Returns its exit code, and how long to wait for readers of its messages.
fn run(args: &[OsString], color: ColorChoice) -> (u8, Patience) {
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
    let matches =
        Cli::command().color(color).try_get_matches_from(settings::inserted(args, 2, &settings));
    let parsed =
        matches.and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (matches, cli)));
    let (matches, command) = match parsed {
        Ok((matches, cli)) => (matches, cli.command),
        Err(error) => return (refuse(&error, color), Patience::Bounded),
    };
    match command {
        Command::Write(write) => {
            (write::run(&write, reload(args, &matches, &write)), Patience::Bounded)
        }
        Command::Recover(args) => (recover::run(&args), Patience::Unbounded),
        Command::Merge(args) => (merge::run(&args), Patience::Unbounded),
        Command::Verify(args) => (verify::run(&args), Patience::Unbounded),
        Command::Stats(args) => (stats::run(&args, color), Patience::Unbounded),
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

/// What SIGHUP reads anew. Without a file of options all stays as it is.
fn reload(args: &[OsString], matches: &ArgMatches, write: &Write) -> Option<Reload> {
    settings::config_file(args, std::env::vars_os())?;
    let started = matches.subcommand_matches("write")?.clone();
    let args = args.to_vec();
    Some(Reload::new(started, write.clone(), Box::new(move || reread(&args))))
}

/// The options of `write` as they are by now. The error is a complete message.
fn reread(args: &[OsString]) -> Result<(ArgMatches, Write), String> {
    let settings = settings::gather_again(args)?;
    let said = |error: clap::Error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    };
    let all = settings::inserted(args, 2, &settings);
    let matches = Cli::command().try_get_matches_from(all).map_err(said)?;
    let matches = matches.subcommand_matches("write").cloned().unwrap_or_default();
    let write = Write::from_arg_matches(&matches).map_err(said)?;
    Ok((matches, write))
}

/// Prints what clap has to say. Returns the exit code.
fn refuse(error: &clap::Error, color: ColorChoice) -> u8 {
    sys::unblock();
    if !error.use_stderr() || io::stderr().is_terminal() {
        // Help, or colours.
        error.exit();
    }
    match color {
        ColorChoice::Always => console::print(error.render().ansi()),
        _ => console::print(error.render()),
    }
    exit::USAGE
}
