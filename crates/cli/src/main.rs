//! The program: writes lines from standard input or files, as records, into complete files.
//!
//! Guarantees: every exit code is one of [`exit`].
//!
//! Flow: arguments -> `write` (inputs -> lines -> producer) -> summary, with its monitor beside it;
//! or arguments -> `recover`.

mod commands;
mod console;
mod exit;
mod inputs;
mod sys;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;

use crate::commands::{Cli, Command, recover, write};
use crate::console::Patience;

fn main() -> ExitCode {
    let (code, patience) = match Cli::try_parse().map(|cli| cli.command) {
        Ok(Command::Write(args)) => (write::run(&args), Patience::Bounded),
        Ok(Command::Recover(args)) => (recover::run(&args), Patience::Unbounded),
        Err(error) => (refuse(&error), Patience::Bounded),
    };
    console::finish(patience);
    ExitCode::from(code)
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
