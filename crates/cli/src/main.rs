//! The program: writes lines from standard input or files, as records, into complete files.
//!
//! Guarantees: every exit code is one of [`exit`].
//!
//! Flow: arguments -> `run` (inputs -> lines -> producer) -> summary, with `monitor` beside it; or
//! arguments -> `recover`.

mod args;
mod console;
mod exit;
mod input;
mod lines;
mod monitor;
mod recover;
mod run;
mod signals;
mod summary;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(match args::Cli::parse().command {
        args::Command::Write(write) => run::run(&write),
        args::Command::Recover(recover) => recover::run(&recover),
    })
}
