//! `recover`: left-overs of writers that died, by hand.
//!
//! Guarantees: each file that was published, set aside or left alone is named, and each error. Exit code 1 if
//! something failed, so that the next run has more to do; what is set aside or left alone is no failure.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bufferedwriter::{RecoverOptions, Recovery, recover};
use serde_json::{Value, json};

use crate::console;
use crate::exit;

const AFTER: &str = "\
A writer that was killed leaves temp files and a state file in its temp directory. The next writer with the \
same --path, --temp and --prefix recovers them by itself; this does it without one. It is safe at any time, \
beside writers and other recoveries: what lives is left alone, and so are other users' files.

Of each temp file, what is known to be whole records becomes visible in --path: all that was written, or \
after a reboot what was synced. What can't be trusted is set aside under a hidden name (.*.aside in --temp), \
never deleted: look at it, then remove it. What a writer with --crash-proof had in memory becomes a file too.

Output: one line for each file, and a summary, on standard error; with --json one object on standard output.

Exit codes:
  0  all is done, or there was nothing to do
  1  a directory or a file failed; run it again
  2  a wrong option";

/// Publishes what writers that died left in their temp directory.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Recover {
    /// Directory in which those writers wrote their files
    #[arg(long, value_name = "DIR")]
    temp: PathBuf,

    /// Directory in which their files were to appear
    #[arg(long, value_name = "DIR")]
    path: PathBuf,

    /// Only writers whose files begin with this [default: any]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// Directory in which their memory is, for writers with --crash-proof=DIR; /dev/shm is looked into anyhow
    #[arg(long, value_name = "DIR")]
    memory: Option<PathBuf>,

    /// Change nothing, and tell what would be done
    #[arg(long)]
    dry_run: bool,

    /// Print what was done as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// The whole command; the exit code.
pub(crate) fn run(args: &Recover) -> u8 {
    let mut options = RecoverOptions::new(&args.path, &args.temp).dry_run(args.dry_run);
    if let Some(prefix) = &args.prefix {
        options = options.prefix(prefix);
    }
    if let Some(memory) = &args.memory {
        options = options.memory(memory);
    }
    let recovery = match recover(&options) {
        Ok(recovery) => recovery,
        Err(error) => {
            console::report(error);
            return exit::IO;
        }
    };
    tell_errors(&recovery);
    if args.json {
        if let Err(error) = writeln!(io::stdout(), "{}", json(&recovery, args.dry_run)) {
            console::report(format_args!("write to standard output: {error}"));
            return exit::IO;
        }
    } else {
        tell_files(&recovery, args.dry_run);
    }
    if recovery.errors.is_empty() { exit::WRITTEN } else { exit::IO }
}

/// What the recovery of a writer did, if anything: for the command that runs the writer.
pub(crate) fn tell(recovery: &Recovery) {
    if !recovery.is_empty() {
        tell_errors(recovery);
        tell_files(recovery, false);
    }
}

fn tell_errors(recovery: &Recovery) {
    recovery.errors.iter().for_each(|error| console::report(format_args!("recovery: {error}")));
}

fn tell_files(recovery: &Recovery, dry_run: bool) {
    let (published, aside, summary) = match dry_run {
        true => ("would be published", "would be set aside", "would recover"),
        false => ("published", "set aside", "recovered"),
    };
    let tell =
        |what: &str, path: &Path| console::report(format_args!("{what}: {}", path.display()));
    recovery.published.iter().for_each(|path| tell(published, path));
    recovery.set_aside.iter().for_each(|path| tell(aside, path));
    for left in &recovery.skipped {
        console::report(format_args!("left alone: {}: {}", left.path.display(), left.reason));
    }
    console::report(format_args!("{summary}: {recovery}"));
}

fn json(recovery: &Recovery, dry_run: bool) -> Value {
    let text = |path: &PathBuf| Value::from(path.to_string_lossy());
    let paths = |paths: &[PathBuf]| paths.iter().map(text).collect::<Vec<_>>();
    let left = recovery.skipped.iter().map(
        |left| json!({ "path": left.path.to_string_lossy(), "reason": left.reason.to_string() }),
    );
    json!({
        "dry_run": dry_run,
        "instances": recovery.instances,
        "alive": recovery.alive,
        "published": paths(&recovery.published),
        "bytes": recovery.bytes,
        "cut_bytes": recovery.cut_bytes,
        "lost": { "records": recovery.lost.records, "bytes": recovery.lost.bytes },
        "set_aside": paths(&recovery.set_aside),
        "skipped": left.collect::<Vec<_>>(),
        "errors": recovery.errors.iter().map(|error| error.to_string()).collect::<Vec<_>>(),
    })
}
