//! The program: ships the finished files of a directory to an object store, each once.
//!
//! Guarantees: what is told holds no credential. Exit code 0 means that each file found has its object.
//!
//! Flow: arguments -> [`Shipper`](bufferedwriter_ship::Shipper) on its thread; beside it progress, metrics and signals
//! -> summary.

mod program;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(program::run(&program::args::Args::parse()))
}
