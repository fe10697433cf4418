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

use std::process::ExitCode;

use clap::Parser;

use crate::commands::{Cli, Command, recover, write};

fn main() -> ExitCode {
    ExitCode::from(match Cli::parse().command {
        Command::Write(args) => write::run(&args),
        Command::Recover(args) => recover::run(&args),
    })
}
