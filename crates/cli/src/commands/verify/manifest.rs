//! The lines of manifests against the files that are there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::commands::verify::content::Content;
use crate::commands::verify::problems::{Kind, Problem};

/// Longer than any line of a writer.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// What a line says of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    bytes: u64,
    records: u64,
    record_bytes: u64,
    /// The manifest and the number of the line.
    place: (PathBuf, u64),
}

/// A file that was read.
pub(super) struct Known<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: u64,
    pub(super) content: &'a Content,
}

/// Compares manifests with the files of a directory.
pub(super) fn check(
    manifests: &[PathBuf],
    dir: &Path,
    files: &[Known<'_>],
    is_lines: bool,
    may_be_missing: bool,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut lines = HashMap::new();
    for manifest in manifests {
        if let Err(error) = read(manifest, dir, &mut lines, &mut problems) {
            problems.push(Problem::new(Kind::Manifest, manifest, format!("read: {error}")));
        }
    }
    for known in files {
        match lines.remove(known.path) {
            Some(line) => problems.extend(differences(known, &line, is_lines)),
            None => problems.push(Problem::new(Kind::Unlisted, known.path, "not in the manifest")),
        }
    }
    if !may_be_missing {
        // A file that was published meanwhile was not read, but is there.
        let missing = lines.into_iter().filter(|(path, _)| path.symlink_metadata().is_err());
        problems.extend(missing.map(|(path, line)| {
            let (manifest, number) = line.place;
            let what = format!("missing, but in line {number} of {}", manifest.display());
            Problem::new(Kind::Missing, &path, what)
        }));
    }
    problems
}

fn read(
    manifest: &Path,
    dir: &Path,
    lines: &mut HashMap<PathBuf, Line>,
    problems: &mut Vec<Problem>,
) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(manifest)?);
    let (mut text, mut number, mut at) = (Vec::new(), 0, 0);
    loop {
        text.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let parsed = parse(&text, (manifest.to_owned(), number));
        let wrong = match parsed {
            None => Some(format!("line {number}, at byte {at}, is not of a manifest")),
            Some((path, line)) => lines.insert(dir.join(&path), line).map(|before| {
                format!("line {number}, at byte {at}: {path} again, as in line {}", before.place.1)
            }),
        };
        if let Some(what) = wrong {
            problems.push(Problem::new(Kind::Manifest, manifest, what).at(at));
        }
        at += read as u64;
    }
}

fn parse(text: &[u8], place: (PathBuf, u64)) -> Option<(String, Line)> {
    let value: Value = serde_json::from_slice(text.strip_suffix(b"\n")?).ok()?;
    let number = |key| value.get(key)?.as_u64();
    let line = Line {
        bytes: number("bytes")?,
        records: number("records")?,
        record_bytes: number("record_bytes")?,
        place,
    };
    Some((value.get("path")?.as_str()?.to_owned(), line))
}

fn differences(known: &Known<'_>, line: &Line, is_lines: bool) -> Option<Problem> {
    let mut differs = Vec::new();
    let mut compare = |what: &str, is: u64, says: u64| {
        if is != says {
            differs.push(format!("{what}: {is}, not {says}"));
        }
    };
    compare("bytes", known.bytes, line.bytes);
    // What is damaged was not read to its end.
    if !known.content.problems.iter().any(|problem| problem.kind == Kind::Damaged) {
        compare("bytes of records", known.content.record_bytes, line.record_bytes);
        if is_lines {
            compare("records", known.content.lines, line.records);
        }
    }
    let what = format!("differs from the manifest: {}", differs.join(", "));
    (!differs.is_empty()).then(|| Problem::new(Kind::Differs, known.path, what))
}
