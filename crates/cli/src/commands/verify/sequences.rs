//! Gaps in the numbers of each worker's files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::commands::verify::problems::{Kind, Problem};
use crate::commands::walk::parsed;

/// Prefix, instance and worker.
type Worker = (OsString, u64, usize);

/// The files of each worker whose numbers are not in one row. Names that no writer makes are told, too.
pub(super) fn check<'a>(
    paths: impl Iterator<Item = &'a Path>,
    may_be_missing: bool,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut workers: BTreeMap<Worker, Vec<(u64, &Path)>> = BTreeMap::new();
    for path in paths {
        match parsed(path) {
            Some(name) => {
                let worker = (name.prefix, name.instance, name.worker);
                workers.entry(worker).or_default().push((name.sequence, path));
            }
            None => problems.push(Problem::new(Kind::Name, path, "not a name of a writer's file")),
        }
    }
    for ((_, instance, worker), mut files) in workers {
        files.sort_unstable();
        for pair in files.windows(2) {
            let [(before, _), (after, path)] = *pair else { continue };
            let of = format!("of worker {worker} of instance {instance:016x}");
            if before == after {
                let what = format!("a second file with number {after} {of}");
                problems.push(Problem::new(Kind::Twice, path, what));
            } else if after - before > 1 && !may_be_missing {
                let what = match (before + 1, after - 1) {
                    (first, last) if first == last => {
                        format!("file {first} {of} is missing before it")
                    }
                    (first, last) => format!("files {first} to {last} {of} are missing before it"),
                };
                problems.push(Problem::new(Kind::Gap, path, what));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn gaps_and_doubles() {
        let name = |instance: u64, worker, sequence| {
            let name = format!(
                "out/p_20261122T194030.123456789Z-{instance:016x}-7-w{worker}-{sequence}.log"
            );
            PathBuf::from(name)
        };
        // The oldest may be gone, workers count alone, and the order of the names does not matter.
        let mut paths =
            vec![name(1, 0, 12), name(1, 0, 10), name(1, 0, 11), name(1, 1, 3), name(2, 0, 0)];
        let check_all = |paths: &[PathBuf], may| check(paths.iter().map(PathBuf::as_path), may);
        assert_eq!(check_all(&paths, false), []);
        paths.extend([name(1, 1, 5), name(2, 0, 9), PathBuf::from("out/d/x.log")]);
        paths.push(PathBuf::from("out/d").join(name(2, 0, 9).file_name().unwrap()));
        let told: Vec<_> = check_all(&paths, false).into_iter().map(|p| (p.kind, p.what)).collect();
        assert_eq!(
            told,
            [
                (Kind::Name, "not a name of a writer's file".to_owned()),
                (
                    Kind::Gap,
                    "file 4 of worker 1 of instance 0000000000000001 is missing before it"
                        .to_owned()
                ),
                (
                    Kind::Gap,
                    "files 1 to 8 of worker 0 of instance 0000000000000002 are missing before it"
                        .to_owned()
                ),
                (
                    Kind::Twice,
                    "a second file with number 9 of worker 0 of instance 0000000000000002"
                        .to_owned()
                ),
            ]
        );
        let kinds: Vec<_> = check_all(&paths, true).into_iter().map(|p| p.kind).collect();
        assert_eq!(kinds, [Kind::Name, Kind::Twice]);
    }
}
