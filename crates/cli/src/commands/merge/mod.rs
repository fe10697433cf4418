//! `merge`: finished files back into one stream in the order of time.
//!
//! Guarantees: every line of every file is in the output, once, or told. Memory and descriptors are bounded, whatever
//! the files are.
//!
//! Flow: inputs -> survey -> sorting of files that are not in order -> merging -> output.

pub(crate) mod args;
mod feed;
mod key;
mod merging;
mod outcome;
mod output;
mod plan;
mod sorting;
mod spill;
mod streams;
mod survey;
#[cfg(test)]
mod tests;
mod time;
mod window;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use bufferedwriter::CloseReport;
use bytesize::ByteSize;
use serde_json::json;

use crate::commands::merge::args::Merge;
use crate::commands::merge::key::{Key, Prefix};
use crate::commands::merge::merging::{Merging, Sink};
use crate::commands::merge::output::{Files, STDOUT_BYTES, Stdout};
use crate::commands::merge::plan::Plan;
use crate::commands::merge::spill::Spill;
use crate::commands::merge::streams::{Pending, What, rank};
use crate::commands::merge::time::Format;
use crate::commands::walk::walk;
use crate::console::{self, Descriptor};
use crate::{exit, sys};

/// Descriptors of a writer with one worker: state file, temp file, directories, manifest, journal.
const WRITER_DESCRIPTORS: usize = 12;
/// Longest line with `--path`, as a share of the writer's memory.
const LINE_BYTES_MAX: usize = 4 << 20;

/// Runs the command. Returns the exit code.
pub(crate) fn run(args: &Merge) -> u8 {
    // A signal ends the program, as any other.
    sys::unblock();
    console::keep_all();
    if matches!(args.time, Format::Prefix(_)) && args.window.is_some() {
        console::report_usage("--window needs times, and prefix:N is none");
        return exit::USAGE;
    }
    let (paths, failed) = files(&args.inputs);
    let config = args.config();
    let output = match &config {
        Some(config) => (config.memory_bound() + LINE_BYTES_MAX, WRITER_DESCRIPTORS),
        None => (STDOUT_BYTES, 0),
    };
    let times = (args.time.clone(), args.time_zone.clone(), args.window);
    let plan = match Plan::new(times, args.memory, paths.len(), output) {
        Ok(plan) => plan,
        Err(message) => {
            console::report_usage(message);
            return exit::USAGE;
        }
    };
    plan.outcome.failed.fetch_add(failed, Relaxed);
    let result = match args.time {
        Format::Prefix(_) => merge::<Prefix>(args, &plan, &paths),
        _ => merge::<i64>(args, &plan, &paths),
    };
    match result {
        Ok(()) => {}
        // `head` has what it wants.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return exit::IO,
        Err(Failure::Io(error)) => {
            console::report(error);
            return exit::IO;
        }
        Err(Failure::Usage(message)) => {
            console::report_usage(message);
            return exit::USAGE;
        }
    }
    match plan.outcome.refused.load(Relaxed) {
        0 if plan.outcome.is_well() => exit::WRITTEN,
        0 => exit::IO,
        _ => exit::RECORDS_MISSING,
    }
}

/// Why nothing more is written.
enum Failure {
    Io(io::Error),
    Usage(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

/// All files of the inputs, in order, and how many inputs failed, which is told.
fn files(inputs: &[PathBuf]) -> (Vec<PathBuf>, u64) {
    let (mut files, mut failed) = (Vec::new(), 0);
    for input in inputs {
        if !input.is_dir() {
            files.push(input.clone());
            continue;
        }
        let found = walk(input);
        files.extend(found.files);
        for (dir, error) in found.errors {
            failed += 1;
            console::report(format_args!("list {}: {error}", dir.display()));
        }
    }
    (files, failed)
}

fn merge<K: Key>(args: &Merge, plan: &Plan, paths: &[PathBuf]) -> Result<(), Failure> {
    let temp = args.temp.clone().unwrap_or_else(std::env::temp_dir);
    let Some(config) = args.config() else {
        let mut stdout = Stdout::new()?;
        let result = merge_into::<K>(&temp, plan, paths, &mut stdout);
        return Ok(result.and_then(|()| stdout.finish()).map_err(named)?);
    };
    let files = Files::new(config, &plan.outcome, LINE_BYTES_MAX);
    let mut files = files.map_err(|error| match error.path() {
        Some(_) => Failure::Io(io::Error::other(error.to_string())),
        None => Failure::Usage(error.to_string()),
    })?;
    merge_into::<K>(&temp, plan, paths, &mut files)?;
    let report = files.finish()?;
    summarise(args, plan, &report)
}

/// An error of standard output with its name. Others have theirs.
fn named(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => io::Error::new(error.kind(), format!("write to standard output: {error}")),
        None => error,
    }
}

fn merge_into<K: Key>(
    temp: &Path,
    plan: &Plan,
    paths: &[PathBuf],
    sink: &mut impl Sink<K>,
) -> io::Result<()> {
    let spill = Spill::new(temp);
    let known = survey::survey::<K>(plan, paths);
    let is_unsorted = |known: &&survey::Known<K>| !known.is_sorted && plan.window.is_none();
    let mut pending = sorting::sort(plan, &spill, known.iter().filter(is_unsorted).collect())?;
    for (at, known) in known.iter().enumerate().filter(|(_, known)| !is_unsorted(known)) {
        let first = known.first.earlier(plan.window.unwrap_or(0));
        pending.push(Pending { first: (first, rank(known.source, 0)), what: What::File(at) });
    }
    Merging::new(plan, &spill, &known, pending).run(sink)
}

/// Tells what was written into files.
fn summarise(args: &Merge, plan: &Plan, report: &CloseReport) -> Result<(), Failure> {
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
    let outcome = &plan.outcome;
    if args.output.json {
        let summary = json!({
            "inputs": count(&outcome.files),
            "lines": count(&outcome.lines),
            "bytes": count(&outcome.bytes),
            "without_time": count(&outcome.untimed),
            "late": count(&outcome.late),
            "damaged": count(&outcome.faults),
            "torn_bytes": count(&outcome.torn_bytes),
            "failed": count(&outcome.failed),
            "refused": count(&outcome.refused),
            "written": { "records": report.written.records, "bytes": report.written.bytes },
            "files": report.files,
            "files_bytes": report.files_bytes,
        });
        return Ok(writeln!(Descriptor::stdout(), "{summary}").map_err(named)?);
    }
    if !args.output.quiet {
        console::report(format_args!(
            "{} lines, {} of {} files merged into {} files in {}; refused {}, without a time {}",
            report.written.records,
            ByteSize(report.written.bytes).display().si(),
            count(&outcome.files),
            report.files,
            args.output.path.as_deref().unwrap_or(Path::new("")).display(),
            count(&outcome.refused),
            count(&outcome.untimed),
        ));
    }
    Ok(())
}
