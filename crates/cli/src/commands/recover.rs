//! `recover`: recovers the files of dead writers, without a writer.
//!
//! Guarantees: names each file that was published, set aside or skipped, and each error. The exit
//! code is 1 if something failed, so that another run has work to do. A file set aside or skipped
//! is no failure.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bufferedwriter::{RecoverOptions, Recovery, SkipReason, Skipped, recover};
use serde_json::{Value, json};

use crate::console::{self, Descriptor};
use crate::exit;
use crate::sys;

const AFTER: &str = "\
Examples:
  See first, then publish:
    bufferedwriter recover --path /var/log/app --temp /var/log/app/.tmp --dry-run
    bufferedwriter recover --path /var/log/app --temp /var/log/app/.tmp

A writer that is killed leaves temp files and a state file in its temp directory. The next writer with the \
same --path, --temp and --prefix recovers them by itself; this command does it without one. It is safe at \
any time, beside writers and other recoveries. Live writers are not touched, and files of other users are skipped.

From each temp file, the records that are known to be whole become visible in --path: all that were written \
or, after a reboot, those that were synced. A file that can't be trusted is set aside under a hidden name \
(.*.aside in --temp), never deleted: look at it, then remove it. Records in the memory of a writer with \
--crash-proof become a file too.

Output: One line for each file, and a summary, on standard error. With --json, one object on standard output.

Exit codes:
  0  all is done, or there was nothing to do
  1  a directory or a file failed; run the command again
  2  an option is wrong";

/// Publish the records that killed writers left in their temp directory
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Recover {
    /// The writers' --temp: directory in which they wrote their files
    #[arg(long, value_name = "DIR")]
    temp: PathBuf,

    /// The writers' --path: directory in which their files appear
    #[arg(long, value_name = "DIR")]
    path: PathBuf,

    /// Recover writers whose --path had this name, too: the directories were moved, or are mounted
    /// elsewhere now. Not for copies of directories that are still in use
    #[arg(long, value_name = "OLD_PATH")]
    from: Option<PathBuf>,

    /// Recover only writers with this prefix [default: any]
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// Directory of the writers' memory, if they ran with --crash-proof=DIR. /dev/shm is always
    /// searched
    #[arg(long, value_name = "DIR")]
    memory: Option<PathBuf>,

    /// Take memory that is not found for gone, and publish what the temp files hold. Only for memory
    /// that no longer exists, such as that of a container that was removed
    #[arg(long)]
    without_memory: bool,

    /// Change nothing and report what would be done
    #[arg(long)]
    dry_run: bool,

    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command. Returns the exit code.
pub(crate) fn run(args: &Recover) -> u8 {
    // A signal ends the program, as any other.
    sys::unblock();
    // Nothing is held up by a reader that is slow.
    console::keep_all();
    let mut options = RecoverOptions::new(&args.path, &args.temp)
        .without_memory(args.without_memory)
        .dry_run(args.dry_run);
    if let Some(prefix) = &args.prefix {
        options = options.prefix(prefix);
    }
    if let Some(from) = &args.from {
        options = options.from(from);
    }
    if let Some(memory) = &args.memory {
        options = options.memory(memory);
    }
    let recovery = match recover(&options) {
        Ok(recovery) => recovery,
        Err(error) => {
            let is_option = error.path().is_none();
            console::report(error);
            return if is_option { exit::USAGE } else { exit::IO };
        }
    };
    tell_errors(&recovery);
    if args.json {
        if let Err(error) = writeln!(Descriptor::stdout(), "{}", json(&recovery, args.dry_run)) {
            console::report(format_args!("write to standard output: {error}"));
            return exit::IO;
        }
    } else {
        tell_files(&recovery, args.dry_run);
    }
    if recovery.errors.is_empty() { exit::WRITTEN } else { exit::IO }
}

/// Reports what the recovery of a writer did, if anything, for the command that runs the writer.
pub(crate) fn tell(recovery: &Recovery) {
    if recovery.is_empty() {
        return console::detail("recovery: nothing was left over");
    }
    tell_errors(recovery);
    tell_files(recovery, false);
}

/// What the operator has heard of a recovery: it is told once, as soon as it is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<AtomicBool>);

impl Told {
    /// Tells of it, if it is over and nobody did.
    pub(crate) fn tell(&self, recovery: Option<Recovery>) {
        let Some(recovery) = recovery else { return };
        if !self.0.swap(true, Ordering::Relaxed) {
            tell(&recovery);
        }
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
        console::report(format_args!("skipped: {}: {}", left.path.display(), why(left)));
    }
    console::report(format_args!("{summary}: {recovery}"));
}

fn why(left: &Skipped) -> String {
    let Some(directory) = left.directory.as_ref().map(|dir| dir.display()) else {
        return left.reason.to_string();
    };
    let option = match left.reason {
        SkipReason::OtherPath => format!("; if it is this one now: recover --from {directory}"),
        _ => String::new(),
    };
    format!("{}: {directory}{option}", left.reason)
}

fn json(recovery: &Recovery, dry_run: bool) -> Value {
    let text = |path: &PathBuf| Value::from(path.to_string_lossy());
    let paths = |paths: &[PathBuf]| paths.iter().map(text).collect::<Vec<_>>();
    let left = recovery.skipped.iter().map(
        |left| json!({ "path": left.path.to_string_lossy(), "reason": left.reason.to_string(), "directory": left.directory.as_ref().map(text) }),
    );
    json!({
        "dry_run": dry_run,
        "instances": recovery.instances,
        "alive": recovery.alive,
        "published": paths(&recovery.published),
        "records": recovery.records.records,
        "bytes": recovery.bytes,
        "cut_bytes": recovery.cut_bytes,
        "lost": { "records": recovery.lost.records, "bytes": recovery.lost.bytes },
        "overwritten": {
            "records": recovery.overwritten.records,
            "bytes": recovery.overwritten.bytes,
        },
        "set_aside": paths(&recovery.set_aside),
        "skipped": left.collect::<Vec<_>>(),
        "errors": recovery.errors.iter().map(|error| error.to_string()).collect::<Vec<_>>(),
    })
}
