//! The directories that the writers write to. The files of a closed writer are read once and removed.
//!
//! Guarantees: checks that a clean close leaves no temp file and no state file. After a failure all files stay
//! for inspection.

use std::fs;
use std::path::{Path, PathBuf};

use bufferedwriter::Config;
use bufferedwriter_stress::failure::{expect, fail};
use bufferedwriter_stress::visible::{Visible, list};

use crate::account::Sum;

pub(crate) struct OutputDirs {
    root: PathBuf,
    /// The root was made by this run, so it is removed at the end too.
    fresh: bool,
    path: PathBuf,
    temp: PathBuf,
}

impl OutputDirs {
    /// Makes them in the given directory, or in a fresh one.
    pub(crate) fn new(given: Option<&Path>) -> Self {
        let name = format!("bufferedwriter-stress-{}", std::process::id());
        let root = given.map_or_else(|| std::env::temp_dir().join(name), Path::to_owned);
        let (path, temp) = (root.join("ready"), root.join("unfinished"));
        for dir in [&path, &temp] {
            expect("create a directory", fs::create_dir_all(dir));
        }
        OutputDirs { root, fresh: given.is_none(), path, temp }
    }

    pub(crate) fn config(&self) -> Config {
        Config::default().path(&self.path).temp(&self.temp)
    }

    /// Reads and removes the files of `writer`; there must be no others.
    pub(crate) fn take_files(&self, writer: u32) -> Sum {
        let mut visible = Visible::new(writer);
        visible.read_dir(&self.path, true);
        if let Some(left) = list(&self.temp).first() {
            fail(&format!("left by writer {writer}: {}", left.display()));
        }
        Sum::of(&visible.found)
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
