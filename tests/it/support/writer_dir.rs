//! The directories of one writer, gone at the end of the test: one where files appear, one where they are written.

use std::fs;
use std::path::{Path, PathBuf};

use bufferedwriter::{Config, CrashProof};
use bufferedwriter_testkit::dir::{TestDir, is_hidden, list, paths, paths_below};
use bufferedwriter_testkit::name::Name;

use super::system::may_be_removed;

pub struct WriterDir {
    root: TestDir,
    pub path: PathBuf,
    pub temp: PathBuf,
}

impl WriterDir {
    pub fn new() -> Self {
        Self::below(TestDir::new())
    }

    /// In a directory of the caller's choice, for the sake of its file system.
    pub fn within(parent: &Path) -> Self {
        Self::below(TestDir::within(parent))
    }

    fn below(root: TestDir) -> Self {
        let (path, temp) = (root.dir("path"), root.dir("temp"));
        WriterDir { root, path, temp }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Options of a writer in here; nothing becomes visible because of its age.
    pub fn config(&self) -> Config {
        let config = Config::default().path(&self.path).temp(&self.temp);
        config.file_age(std::time::Duration::ZERO).crash_proof(memory())
    }

    /// The same, of a writer that takes messages without a copy, whatever the environment says.
    pub fn config_without_copy(&self) -> Config {
        self.config().crash_proof(CrashProof::Off)
    }

    /// The visible files, in the order of their names. Each name must be one of ours.
    pub fn files(&self) -> Vec<(Name, PathBuf)> {
        let visible = paths_below(&self.path).into_iter().filter(|file| !is_hidden(file));
        let parse = |file: PathBuf| {
            let parsed = Name::parse(file.file_name().unwrap(), b"", b"log");
            (parsed.unwrap_or_else(|| panic!("no name of ours: {}", file.display())), file)
        };
        visible.map(parse).collect()
    }

    /// The visible bytes, file by file.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.files().iter().map(|(_, file)| fs::read(file).unwrap()).collect()
    }

    /// The temp files.
    pub fn temps(&self) -> Vec<PathBuf> {
        self.unfinished("tmp")
    }

    /// The state files.
    pub fn states(&self) -> Vec<PathBuf> {
        self.unfinished("state")
    }

    fn unfinished(&self, extension: &str) -> Vec<PathBuf> {
        let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == extension);
        paths(&self.temp).into_iter().filter(is_one).collect()
    }

    /// After a clean close: no temp file, no state file, nothing hidden.
    pub fn assert_clean(&self) {
        let left = self.left();
        assert!(left.is_empty(), "left in temp: {left:?}");
        self.assert_nothing_hidden();
    }

    /// Whether nothing is left in temp: a writer that closes itself elsewhere has come to its end.
    pub fn is_clean(&self) -> bool {
        list(&self.temp).is_empty()
    }

    /// What is in temp, but for what may be removed already.
    fn left(&self) -> Vec<PathBuf> {
        paths(&self.temp).into_iter().filter(|path| !may_be_removed(path)).collect()
    }

    /// Where files appear, nothing else ever does.
    pub fn assert_nothing_hidden(&self) {
        let hidden: Vec<_> =
            paths_below(&self.path).into_iter().filter(|path| is_hidden(path)).collect();
        assert!(hidden.is_empty(), "hidden in path: {hidden:?}");
    }
}

/// All tests do as well where the memory outlives the process: `BUFFEREDWRITER_CRASH_PROOF=1`.
fn memory() -> CrashProof {
    match std::env::var_os("BUFFEREDWRITER_CRASH_PROOF") {
        Some(_) => CrashProof::Auto,
        None => CrashProof::Off,
    }
}
