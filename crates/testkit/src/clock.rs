//! A wall clock that a test sets for a program, by Debian's faketime or the library that `BUFFEREDWRITER_TEST_FAKETIME`
//! names. The monotonic clock and the times of files stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A clock that programs can be given.
pub struct Clock {
    library: PathBuf,
    setting: PathBuf,
}

impl Clock {
    /// Its setting is a file in this directory. `None`, and "skipped" is told, where the library is not.
    #[must_use]
    pub fn new(dir: &Path) -> Option<Clock> {
        let library = library();
        if library.is_none() {
            println!("skipped: no libfaketimeMT.so.1 here (Debian: faketime)");
        }
        Some(Clock { library: library?, setting: dir.join("clock") })
    }

    /// In one step, as a clock is set. As faketime has it: `@2030-01-01 00:00:00` or `+365d`.
    ///
    /// # Panics
    /// The file can't be written.
    pub fn set(&self, to: &str) {
        let next = self.setting.with_extension("next");
        fs::write(&next, to).unwrap();
        fs::rename(next, &self.setting).unwrap();
    }

    /// The program will have this clock.
    pub fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.setting)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }
}

fn library() -> Option<PathBuf> {
    if let Some(library) = std::env::var_os("BUFFEREDWRITER_TEST_FAKETIME") {
        return Some(library.into());
    }
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""];
    let library =
        |place: &&str| PathBuf::from("/usr/lib").join(place).join("faketime/libfaketimeMT.so.1");
    places.iter().map(library).find(|library| library.exists())
}
