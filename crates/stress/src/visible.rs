//! The directories of the run: what a closed writer made visible is read once, and removed.
//!
//! Guarantees: after a clean close no temp file and no state file is left. After a failure all files
//! stay, for somebody to look at.

use std::fs;
use std::path::{Path, PathBuf};

use bufferedwriter::Config;

use crate::account::Sum;
use crate::failure::{expect, fail};
use crate::record;

pub(crate) struct Directory {
    root: PathBuf,
    /// Made by us: removed as a whole at the end.
    fresh: bool,
    path: PathBuf,
    temp: PathBuf,
}

impl Directory {
    /// Within the one that was given, or a fresh one.
    pub(crate) fn new(given: Option<&Path>) -> Self {
        let name = format!("bufferedwriter-stress-{}", std::process::id());
        let root = given.map_or_else(|| std::env::temp_dir().join(name), Path::to_owned);
        let (path, temp) = (root.join("ready"), root.join("unfinished"));
        for dir in [&path, &temp] {
            expect("create a directory", fs::create_dir_all(dir));
        }
        Directory { root, fresh: given.is_none(), path, temp }
    }

    pub(crate) fn config(&self) -> Config {
        Config::default().path(&self.path).temp(&self.temp)
    }

    /// Reads and removes the files of `writer`; there must not be others.
    pub(crate) fn take(&self, writer: u32) -> Sum {
        let mut sum = Sum::default();
        for file in list(&self.path) {
            let bytes = expect("read a file", fs::read(&file));
            if bytes.is_empty() {
                fail(&format!("empty: {}", file.display()));
            }
            record::each(&bytes, writer, |id, len| sum.add(id, len));
            expect("remove a file", fs::remove_file(&file));
        }
        if let Some(left) = list(&self.temp).first() {
            fail(&format!("left by writer {writer}: {}", left.display()));
        }
        sum
    }

    /// Removes what `new` made.
    pub(crate) fn remove(&self) {
        expect("remove a directory", fs::remove_dir(&self.path));
        expect("remove a directory", fs::remove_dir(&self.temp));
        if self.fresh {
            expect("remove a directory", fs::remove_dir(&self.root));
        }
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = expect("read a directory", fs::read_dir(dir));
    entries.map(|entry| expect("read a directory", entry).path()).collect()
}
