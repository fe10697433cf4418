//! Directories of one test, gone at its end: one where files appear, one where they are written.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bufferedwriter::{Config, CrashProof};

use super::Name;

pub struct TestDir {
    root: PathBuf,
    pub path: PathBuf,
    pub temp: PathBuf,
}

impl TestDir {
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In a directory of the caller's choice, for the sake of its file system.
    pub fn within(dir: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bufferedwriter-it-{}-{count}", std::process::id());
        let root = dir.canonicalize().unwrap().join(name);
        // A leftover of a killed run that had the same process id.
        let _ = fs::remove_dir_all(&root);
        let (path, temp) = (root.join("path"), root.join("temp"));
        fs::create_dir_all(&path).unwrap();
        fs::create_dir_all(&temp).unwrap();
        TestDir { root, path, temp }
    }

    pub fn root(&self) -> &Path {
        &self.root
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
        let names = list(&self.path).into_iter().filter(|name| !is_hidden(name));
        let parse = |name: OsString| {
            let parsed = Name::parse(&name, b"", b"log");
            let parsed = parsed.unwrap_or_else(|| panic!("no name of ours: {name:?}"));
            (parsed, self.path.join(name))
        };
        names.map(parse).collect()
    }

    /// The visible bytes, file by file.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.files().iter().map(|(_, file)| fs::read(file).unwrap()).collect()
    }

    /// The temp files.
    pub fn temps(&self) -> Vec<PathBuf> {
        let is_temp = |name: &OsString| name.to_string_lossy().ends_with(".tmp");
        list(&self.temp).iter().filter(|name| is_temp(name)).map(|n| self.temp.join(n)).collect()
    }

    /// After a clean close: no temp file, no state file, nothing hidden.
    pub fn assert_clean(&self) {
        let left = list(&self.temp);
        assert!(left.is_empty(), "left in temp: {left:?}");
        self.assert_nothing_hidden();
    }

    /// Whether nothing is left in temp: a writer that closes itself elsewhere has come to its end.
    pub fn is_clean(&self) -> bool {
        list(&self.temp).is_empty()
    }

    /// Where files appear, nothing else ever does.
    pub fn assert_nothing_hidden(&self) {
        let hidden: Vec<_> = list(&self.path).into_iter().filter(is_hidden).collect();
        assert!(hidden.is_empty(), "hidden in path: {hidden:?}");
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// All tests do as well where the memory outlives the process: `BUFFEREDWRITER_CRASH_PROOF=1`.
fn memory() -> CrashProof {
    match std::env::var_os("BUFFEREDWRITER_CRASH_PROOF") {
        Some(_) => CrashProof::Auto,
        None => CrashProof::Off,
    }
}

fn is_hidden(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The names in a directory, sorted by their bytes.
pub fn list(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
