//! `ship`: becomes the program `bufferedwriter-ship`, which has the clients of object stores.
//!
//! Guarantees: arguments, environment, signals and exit code are those of that program.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::console;
use crate::exit;
use crate::sys;

const PROGRAM: &str = "bufferedwriter-ship";

/// Ship finished files to an object store, each once
///
/// The program bufferedwriter-ship does it, which is a package of its own. It is looked for beside this one, then on
/// PATH.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Ship {
    /// Arguments of bufferedwriter-ship, --help included
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Returns the exit code, if it is there to return.
pub(crate) fn run(args: &Ship) -> u8 {
    sys::unblock();
    let beside = beside();
    let program = beside.clone().unwrap_or_else(|| PathBuf::from(PROGRAM));
    match replace(Command::new(&program).args(&args.arguments)) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::NotFound && beside.is_none() => {
            let how = "install it with cargo install --path crates/ship";
            console::report(format!("{PROGRAM} is neither beside this program nor on PATH: {how}"));
            exit::IO
        }
        Err(error) => {
            console::report(format!("run {}: {error}", program.display()));
            exit::IO
        }
    }
}

fn beside() -> Option<PathBuf> {
    let program = env::current_exe().ok()?.with_file_name(PROGRAM);
    let program = program.with_extension(env::consts::EXE_EXTENSION);
    program.is_file().then_some(program)
}

/// Returns only if it fails.
#[cfg(unix)]
fn replace(command: &mut Command) -> io::Result<u8> {
    Err(std::os::unix::process::CommandExt::exec(command))
}

#[cfg(not(unix))]
fn replace(command: &mut Command) -> io::Result<u8> {
    let code = command.status()?.code();
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::IO))
}
