//! `verify`: whether all files of a directory are there and whole.
//!
//! Guarantees: changes nothing. Every byte of every file is read once, on all processors. The exit code is 0 only if
//! nothing is wrong.
//!
//! Flow: list -> contents of all files -> names, manifests, left-overs -> report.

mod content;
mod left_overs;
mod manifest;
mod problems;
mod sequences;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytesize::ByteSize;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde_json::json;

use crate::commands::values::{Bytes, bytes};
use crate::commands::verify::content::{Content, Expected};
use crate::commands::verify::problems::{Kind, Problem};
use crate::commands::walk::{hidden_in, walk};
use crate::console::{self, Descriptor};
use crate::{exit, sys};

const AFTER_HELP: &str = "\
Examples:
  bufferedwriter verify /var/log/app --temp /var/log/app/.tmp
  bufferedwriter verify /var/log/app --manifest /var/lib/app/m.ndjson --json | jq

What is looked for, with its kind in the output of --json:
  damaged     a gzip or zstd frame with a wrong checksum, or without its end
  empty, no_newline, nul_block
              a file without a byte; a last line without its end; 512 or more NUL bytes in a row
  envelope    a file that does not begin with --header or end with --footer
  name, twice, gap
              a name that no writer gives; two files of a worker with one number; numbers of a worker
              that are missing between others
  unlisted, missing, differs, manifest
              files without a line in --manifest; lines without a file; files with other bytes or records
              than their line says; lines that are none
  left_over   what dead writers left in --temp, and what a recovery set aside
  unreadable  a file or a directory that can't be read

Writers may be at work meanwhile: their unfinished files are no left-overs. A file of the last moment may not be in \
the manifest yet.

Output: One line for each problem, and a summary, on standard error. With --json, one object on standard output.

Exit codes:
  0  nothing is wrong
  1  something is wrong
  2  an option is wrong";

/// Check that all files of a directory are there and whole
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Verify {
    /// The writers' --path: directory with complete files, in it and below
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// The writers' --temp, to look for left-overs of dead ones [default: DIR]
    #[arg(long, value_name = "DIR")]
    temp: Option<PathBuf>,

    /// Directory of the writers' memory, if they ran with --crash-proof=DIR
    #[arg(long, value_name = "DIR")]
    memory: Option<PathBuf>,

    /// Look only at files whose names begin with this
    #[arg(long, value_name = "TEXT")]
    prefix: Option<OsString>,

    /// The writers' --manifest, to compare with the files; may be given several times, as for one that was moved away
    #[arg(long, value_name = "FILE")]
    manifest: Vec<PathBuf>,

    /// The writers' --header, with which each file must begin
    #[arg(long, value_name = "TEXT|@FILE", value_parser = OsStringValueParser::new().try_map(bytes))]
    header: Option<Bytes>,

    /// The writers' --footer, with which each file must end
    #[arg(long, value_name = "TEXT|@FILE", value_parser = OsStringValueParser::new().try_map(bytes))]
    footer: Option<Bytes>,

    /// Records are not lines: files may end without a newline, and hold NUL bytes; lines are not compared with the
    /// manifest's records
    #[arg(long)]
    binary: bool,

    /// Files may be missing, since retention or a shipper takes them: gaps and lines of the manifest without a file are
    /// in order
    #[arg(long)]
    allow_missing: bool,

    /// Print the result as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command. Returns the exit code.
pub(crate) fn run(args: &Verify) -> u8 {
    // A signal ends the program, as any other.
    sys::unblock();
    console::keep_all();
    let report = Report::of(args);
    if args.json {
        if let Err(error) = writeln!(Descriptor::stdout(), "{}", report.json(args)) {
            console::report(format_args!("write to standard output: {error}"));
            return exit::IO;
        }
    } else {
        report.problems.iter().for_each(console::report);
        console::report(format_args!(
            "{} files, {} on the disk, {} and {} lines in them: {} problems",
            report.files,
            ByteSize(report.bytes).display().si(),
            ByteSize(report.record_bytes).display().si(),
            report.lines,
            report.problems.len(),
        ));
    }
    if report.problems.is_empty() { exit::WRITTEN } else { exit::IO }
}

/// What was found.
struct Report {
    files: usize,
    bytes: u64,
    record_bytes: u64,
    lines: u64,
    /// Sorted by path.
    problems: Vec<Problem>,
}

impl Report {
    fn of(args: &Verify) -> Report {
        let expected = Expected {
            header: args.header.as_ref().map_or(Vec::new(), |bytes| bytes.0.clone()),
            footer: args.footer.as_ref().map_or(Vec::new(), |bytes| bytes.0.clone()),
            is_lines: !args.binary,
        };
        let mut found = walk(&args.dir);
        if let Some(prefix) = &args.prefix {
            let prefix = prefix.as_encoded_bytes();
            found.files.retain(|path| begins(path, prefix));
        }
        let mut problems: Vec<_> = found
            .errors
            .iter()
            .map(|(dir, error)| Problem::new(Kind::Unreadable, dir, format!("list: {error}")))
            .collect();
        let checked = check_all(&found.files, &expected);
        let there: Vec<_> = checked.iter().filter(|file| !file.content.is_gone).collect();
        let paths = there.iter().map(|file| file.path);
        problems.extend(sequences::check(paths, args.allow_missing));
        if !args.manifest.is_empty() {
            let known: Vec<_> = there
                .iter()
                .map(|file| manifest::Known {
                    path: file.path,
                    bytes: file.bytes,
                    content: &file.content,
                })
                .collect();
            problems.extend(manifest::check(
                &args.manifest,
                &args.dir,
                &known,
                expected.is_lines,
                args.allow_missing,
            ));
        }
        problems.extend(left_overs(args, found.hidden));
        problems.extend(there.iter().flat_map(|file| file.content.problems.iter().cloned()));
        problems.sort();
        Report {
            files: there.len(),
            bytes: there.iter().map(|file| file.bytes).sum(),
            record_bytes: there.iter().map(|file| file.content.record_bytes).sum(),
            lines: there.iter().map(|file| file.content.lines).sum(),
            problems,
        }
    }

    fn json(&self, args: &Verify) -> serde_json::Value {
        json!({
            "directory": args.dir.to_string_lossy(),
            "ok": self.problems.is_empty(),
            "files": self.files,
            "bytes": self.bytes,
            "record_bytes": self.record_bytes,
            "lines": self.lines,
            "problems": self.problems.iter().map(Problem::json).collect::<Vec<_>>(),
        })
    }
}

fn begins(path: &Path, prefix: &[u8]) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix))
}

/// What dead writers left in `temp`, and in the directory, where files are written if `temp` is on another disk.
fn left_overs(args: &Verify, mut hidden: Vec<PathBuf>) -> Vec<Problem> {
    let temp = args.temp.as_ref().unwrap_or(&args.dir);
    if temp != &args.dir {
        hidden.extend(hidden_in(temp));
    }
    if let Some(prefix) = &args.prefix {
        let prefix = [b".", prefix.as_encoded_bytes()].concat();
        hidden.retain(|path| begins(path, &prefix));
    }
    left_overs::check(&args.dir, temp, args.memory.as_deref(), &hidden)
}

/// A file and what it holds.
struct Checked<'a> {
    path: &'a Path,
    /// Length on the disk.
    bytes: u64,
    content: Content,
}

/// Reads all files, on all processors. The result is in the order of the paths.
fn check_all<'a>(files: &'a [PathBuf], expected: &Expected) -> Vec<Checked<'a>> {
    let next = AtomicUsize::new(0);
    let checked = Mutex::new(Vec::with_capacity(files.len()));
    let work = || {
        let mut buffer = content::buffer();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(at) else { return };
            let bytes = path.metadata().map_or(0, |found| found.len());
            let content = content::check(path, expected, &mut buffer);
            let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
            checked.push((at, Checked { path, bytes, content }));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(files.len());
    thread::scope(|scope| {
        // Without a thread more, this one does all.
        for _ in 1..threads {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut checked = checked.into_inner().unwrap_or_else(PoisonError::into_inner);
    checked.sort_unstable_by_key(|(at, _)| *at);
    checked.into_iter().map(|(_, checked)| checked).collect()
}
