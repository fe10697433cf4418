//! Measures the free space, and the space that the files of a prefix take.
//!
//! Guarantees: names in directories are parsed, never trusted. Symbolic links are not followed, and
//! no file is opened. A count can be made in portions. Refuses nothing: errors are returned.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::file::tree;
use crate::fs::Fs;
use crate::naming;
use crate::report::error::Error;

/// Files between two checks of the clock.
const CLOCK_FILES: usize = 16;

/// The directories to measure, and the names that count.
#[derive(Clone)]
pub(crate) struct Scope {
    /// From the options, hence the `Arc` of std.
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    /// Visible files lie this deep below `path`, or less.
    pub(crate) depth: usize,
    pub(crate) temp: PathBuf,
    pub(crate) prefix: OsString,
    pub(crate) extension: OsString,
    /// The file system does not report how much a file takes, so lengths count.
    pub(crate) by_len: bool,
}

/// A count of the files in progress.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Bytes that the writer had written when the count began.
    pub(crate) written: u64,
    /// Time spent counting, without the pauses between portions.
    pub(crate) took: Duration,
    /// Directories that are still to be listed.
    dirs: VecDeque<Dir>,
    /// The directory that was listed last.
    dir: Dir,
    names: std::vec::IntoIter<OsString>,
    /// Files with several names that are already counted.
    counted: BTreeSet<(u64, u64)>,
    pub(crate) total: u64,
}

/// A directory of a count.
#[derive(Clone, Debug, Default)]
struct Dir {
    path: PathBuf,
    /// Visible files count there, not only temp files.
    visible: bool,
    /// So many levels below it have files, too.
    depth: usize,
}

impl Walk {
    pub(crate) fn new(scope: &Scope, written: u64) -> Self {
        Walk {
            written,
            took: Duration::ZERO,
            dirs: scope.dirs().collect(),
            dir: Dir::default(),
            names: Vec::new().into_iter(),
            counted: BTreeSet::new(),
            total: 0,
        }
    }
}

impl Scope {
    /// The directories, without those below them.
    fn dirs(&self) -> impl Iterator<Item = Dir> {
        let Scope { path, temp, depth, .. } = self;
        let temp = (temp != path).then(|| Dir { path: temp.clone(), ..Dir::default() });
        [Dir { path: path.clone(), visible: true, depth: *depth }].into_iter().chain(temp)
    }

    /// Bytes that this process may still use: the lesser answer of the two directories.
    pub(crate) fn free_bytes(&self) -> Result<u64, Error> {
        let mut least = u64::MAX;
        for Dir { path: dir, .. } in self.dirs() {
            let free = self.fs.free_bytes(&dir);
            least = least.min(free.map_err(|e| Error::io("look for free space in", &dir, e))?);
        }
        Ok(least)
    }

    /// Continues to count the bytes of all files with this prefix and extension: visible ones of
    /// any instance, and temp files. `true` when the count is complete, `false` when the time is
    /// over.
    pub(crate) fn count(&self, walk: &mut Walk, is_over: impl Fn() -> bool) -> Result<bool, Error> {
        loop {
            for i in 1.. {
                let Some(name) = walk.names.next() else { break };
                self.add(walk, &name)?;
                if i % CLOCK_FILES == 0 && is_over() {
                    return Ok(false);
                }
            }
            let Some(dir) = walk.dirs.pop_front() else { return Ok(true) };
            walk.names = if dir.visible {
                tree::list(&*self.fs, &self.path, &dir.path)?.into_iter()
            } else {
                self.fs.list(&dir.path).map_err(|e| Error::io("list", &dir.path, e))?.into_iter()
            };
            walk.dir = dir;
            if self.depth > 0 && is_over() {
                return Ok(false);
            }
        }
    }

    fn add(&self, walk: &mut Walk, name: &OsStr) -> Result<(), Error> {
        let Dir { path: dir, visible, depth } = &walk.dir;
        let path = dir.join(name);
        let parsed = naming::parse(name, &self.prefix, &self.extension);
        if parsed.is_none() && *depth > 0 && tree::is_partition(&*self.fs, &path)? {
            walk.dirs.push_back(Dir { path, visible: true, depth: depth - 1 });
            return Ok(());
        }
        if parsed.is_none_or(|parsed| !parsed.temp && !visible) {
            return Ok(());
        }
        let facts = self.fs.facts(&path).map_err(|e| Error::io("look up", &path, e))?;
        // The file was published or removed meanwhile, or a writer does not make such files.
        let Some(facts) = facts.filter(|facts| facts.is_file) else { return Ok(()) };
        // A rename by link and unlink (see `RealFs`) leaves two names for a moment.
        if facts.links < 2 || walk.counted.insert(facts.id) {
            // A sparse file takes less than its length, so it does not fill the disk.
            let bytes = if self.by_len { facts.len } else { facts.allocated };
            walk.total = walk.total.saturating_add(bytes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fs::faulty::{Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn names(prefix: &[u8], instance: u64) -> naming::Names {
        let prefix = OsStr::from_bytes(prefix).to_owned();
        naming::Names { prefix, extension: OsString::from("log"), instance, pid: 1 }
    }

    /// Makes a file of `bytes` bytes. Returns the bytes that count for it.
    fn put(path: PathBuf, bytes: usize) -> u64 {
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let facts = crate::fs::real::RealFs.facts(&path).unwrap().unwrap();
        facts.allocated
    }

    #[test]
    fn what_counts_are_files_of_this_prefix_of_anybody() {
        let dir = TestDir::new();
        let (path, temp) = (dir.dir("path"), dir.dir("temp"));
        let (ours, longer) = (names(b"a\xff", 1), names(b"a\xffb", 1));
        let stamp = naming::Stamp(1);
        let mut expected = put(path.join(ours.visible(stamp, 0, 1)), 100_000);
        expected += put(path.join(names(b"a\xff", 2).visible(stamp, 0, 1)), 10);
        expected += put(path.join(ours.temp(stamp, 0, 3)), 20_000);
        expected += put(temp.join(ours.temp(stamp, 0, 2)), 30_000);
        for seq in 100..120 {
            expected += put(path.join(ours.visible(stamp, 0, seq)), 10);
        }
        // A sparse file of no blocks, whoever put it there.
        let sparse = fs::File::create(path.join(ours.visible(stamp, 0, 9))).unwrap();
        sparse.set_len(1 << 40).unwrap();
        // One file under three names.
        let [from, to, too] = [5, 6, 8].map(|seq| path.join(ours.visible(stamp, 0, seq)));
        expected += put(from.clone(), 40_000);
        [to, too].iter().for_each(|to| fs::hard_link(&from, to).unwrap());
        // None of these count.
        put(path.join(longer.visible(stamp, 0, 1)), 1000);
        put(path.join(names(b"a", 1).visible(stamp, 0, 1)), 1000);
        put(path.join(names(b"", 1).visible(stamp, 0, 1)), 1000);
        put(path.join("a"), 1000);
        put(temp.join(ours.visible(stamp, 0, 7)), 1000);
        put(temp.join(ours.state()), 1000);
        let deep = path.join("dt=1/h=2");
        fs::create_dir_all(&deep).unwrap();
        let partitions = [
            put(deep.join(ours.visible(stamp, 0, 50)), 5000),
            put(deep.join(ours.visible(stamp, 0, 51)), 10),
            put(path.join("dt=1").join(ours.visible(stamp, 0, 52)), 10),
        ];
        for hidden in [".h", "_h"] {
            fs::create_dir(path.join(hidden)).unwrap();
            put(path.join(hidden).join(ours.visible(stamp, 0, 53)), 1000);
        }
        symlink(path.join("dt=1"), path.join("dt=2")).unwrap();
        symlink("/etc/passwd", path.join(ours.visible(stamp, 1, 1))).unwrap();
        fs::create_dir(path.join(ours.visible(stamp, 1, 2))).unwrap();

        let fs = Faulty::default();
        let prefix = ours.prefix.clone();
        let shared = std::sync::Arc::new(fs.clone());
        let extension = OsString::from("log");
        let mut scope =
            Scope { fs: shared, path, depth: 0, temp, prefix, extension, by_len: false };
        let mut walk = Walk::new(&scope, 0);
        assert!(scope.count(&mut walk, || false).unwrap());
        assert_eq!(walk.total, expected);
        // A count in portions has the same result.
        let mut again = Walk::new(&scope, 0);
        let portions = (1..).find(|_| scope.count(&mut again, || true).unwrap());
        assert!(again.total == expected && portions > Some(1), "{portions:?}");
        // Where the file system reports no blocks, lengths are all there is.
        scope.by_len = true;
        let mut lens = Walk::new(&scope, 0);
        assert!(scope.count(&mut lens, || false).unwrap());
        assert_eq!(lens.total, (1 << 40) + 100_000 + 10 + 20_000 + 30_000 + 200 + 40_000);
        assert_eq!(fs.calls(Op::Open), 0);
        // With partitions, as deep as they are, and through no link.
        (scope.by_len, scope.depth) = (false, 2);
        let mut deep = Walk::new(&scope, 0);
        while !scope.count(&mut deep, || true).unwrap() {}
        assert_eq!(deep.total, expected + partitions.iter().sum::<u64>());
        scope.depth = 1;
        let mut flat = Walk::new(&scope, 0);
        assert!(scope.count(&mut flat, || false).unwrap());
        assert_eq!(flat.total, expected + partitions[2]);
    }
}
